package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// requestLimit is how long draining may take beyond --drain-spread. Requests that are not
// answered by then are cut. With the defaults a node stops within the 30 s that
// orchestrators usually allow.
const requestLimit = 20 * time.Second

// drainFlags set how a node stops.
type drainFlags struct {
	DrainPause  time.Duration `default:"0s" placeholder:"TIME" help:"After SIGTERM, how long the node keeps serving while /readyz answers 503, so that load balancers notice (default ${default})."`
	DrainSpread time.Duration `default:"2s" placeholder:"TIME" help:"After the pause, the period over which the node spreads disconnecting its clients (default ${default})."`
}

func (f *drainFlags) check() error {
	switch {
	case f.DrainPause < 0 || f.DrainPause > maxWait:
		return cli.UsageError(fmt.Sprintf("--drain-pause: %v, want 0s to %v", f.DrainPause, maxWait))
	case f.DrainSpread < time.Millisecond || f.DrainSpread > maxWait:
		return cli.UsageError(fmt.Sprintf("--drain-spread: %v, want 1ms to %v", f.DrainSpread, maxWait))
	}
	return nil
}

// A frontend accepts connections for a node and drains them when the node stops.
type frontend struct {
	drainFlags
	listener net.Listener
	web      *http.Server
	edge     *api.Server
	logger   *slog.Logger
}

// serve answers requests until ctx ends. Then it announces the end, drains, and returns nil.
// If the server stops before, serve returns an error.
func (f *frontend) serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- serveOn(f.web, f.listener) }() // ends in drain

	select {
	case err := <-served:
		return errors.Join(err, f.drain())
	case <-ctx.Done():
	}
	f.logger.Info("stopping", "pause", f.DrainPause.String())
	notifyServiceManager(notifyStopping, f.logger)
	f.edge.Announce()
	select {
	case err := <-served:
		return errors.Join(err, f.drain())
	case <-time.After(f.DrainPause):
	}
	err := f.drain()
	<-served
	return err
}

// drain stops accepting connections, tells the clients to leave over --drain-spread, and
// waits for running requests. It takes at most --drain-spread plus requestLimit.
func (f *frontend) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), f.DrainSpread+requestLimit)
	defer cancel()
	// Close the listener instead of calling web.Shutdown first. web.Shutdown would drop
	// requests that arrive at this moment on open connections.
	_ = f.listener.Close()
	stop := context.AfterFunc(ctx, func() { _ = f.web.Close() }) // cuts the connections that edge can't cut
	defer stop()
	// The second edge.Shutdown is for clients that connected just before the listener closed.
	err := errors.Join(f.edge.Shutdown(ctx), f.web.Shutdown(ctx), f.edge.Shutdown(ctx))
	if err != nil {
		f.logger.Warn("clients that did not leave in time were cut off", "error", err)
		return f.web.Close()
	}
	return nil
}
