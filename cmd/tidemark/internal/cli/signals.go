package cli

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// SignalContext returns a context that ends at the first SIGINT or SIGTERM. A second signal
// ends the process at once, because a graceful end may hang. The default action of the
// signals is restored before the context ends, so a second signal always takes effect.
func SignalContext() (ctx context.Context, stop func()) {
	signals, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(signals, func() {
		restore()
		cancel()
	})
	return ctx, restore
}
