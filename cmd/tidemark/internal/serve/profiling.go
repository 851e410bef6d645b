package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

const (
	// profileLimit bounds the duration of a profile or trace, including its answer.
	profileLimit = 5 * time.Minute
	// profileEndLimit bounds how long the end of the node waits for a running profile.
	profileEndLimit = time.Second
)

// profilerFlags set the address for profiles.
type profilerFlags struct {
	PprofListen string `placeholder:"ADDR" group:"logs" help:"Serve Go profiles (/debug/pprof) at this loopback address, such as 127.0.0.1:6060 (default: off)."`
}

// check checks the address as far as possible without a name lookup.
func (f *profilerFlags) check() error {
	if f.PprofListen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(f.PprofListen)
	if err != nil {
		return cli.UsageError(fmt.Sprintf("--pprof-listen %s: want HOST:PORT", f.PprofListen))
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && !ip.Unmap().IsLoopback() {
		return f.notLoopback()
	}
	return nil
}

func (f *profilerFlags) notLoopback() error {
	return cli.UsageError(fmt.Sprintf("--pprof-listen %s is not a loopback address, and profiles reveal memory contents: "+
		"use 127.0.0.1:6060, for example, and connect through ssh", f.PprofListen))
}

// A profiler serves the program's profiles, and only on loopback: profiles reveal memory
// contents, and taking one costs time. A nil profiler serves nothing.
type profiler struct {
	server  *http.Server
	running sync.WaitGroup
}

// start starts the profiler, or returns nil if the flag is not set.
func (f *profilerFlags) start(headerTimeout, idleTimeout time.Duration, logger *slog.Logger) (*profiler, error) {
	if f.PprofListen == "" {
		return nil, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", f.PprofListen)
	if err != nil {
		return nil, fmt.Errorf("--pprof-listen %s: %w", f.PprofListen, err)
	}
	if !addr.IP.IsLoopback() {
		return nil, f.notLoopback()
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof-listen: %w", err)
	}
	p := &profiler{server: &http.Server{
		Handler:           localHostOnly(profiles()),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout,
		WriteTimeout:      profileLimit,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}}
	logger.Info("profiles are served", "address", listener.Addr().String())
	p.running.Go(func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error("the server of profiles failed: profiles are no longer available", "error", err)
		}
	})
	return p, nil
}

// close stops the profiler and waits for its goroutine. It cuts profiles that take longer
// than profileEndLimit.
func (p *profiler) close() {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), profileEndLimit)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		_ = p.server.Close()
	}
	p.running.Wait()
}

// profiles serves the profiles of net/http/pprof at their usual paths.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// localHostOnly refuses requests whose Host is not this machine. Otherwise a web page could
// read profiles with a host name that resolves to loopback (DNS rebinding).
func localHostOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocalHost(r.Host) {
			http.Error(w, "profiles are available only at a loopback address or localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocalHost reports whether host, with or without a port, is a loopback address or
// localhost.
func isLocalHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
