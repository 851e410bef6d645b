package conn

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

// A nullTransport accepts every write at once.
type nullTransport struct{}

func (nullTransport) Read([]byte) (int, error)         { select {} }
func (nullTransport) Write(b []byte) (int, error)      { return len(b), nil }
func (nullTransport) Close() error                     { return nil }
func (nullTransport) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkWrite measures the cost of a write over TLS or HTTP/2 besides that of the
// transport, while others write too.
func BenchmarkWrite(b *testing.B) {
	logger := slog.New(slog.DiscardHandler)
	env := &Env{
		Scheduler: NewScheduler(NewDeliveries()), Unsent: limits.NewMemoryPool(1 << 30), Logger: logger,
		Problems:     problem.NewReporter(logger, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "x"}, []string{"code"})),
		Cut:          context.Background(),
		WriteTimeout: 2 * time.Minute,
	}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		r := &stallRunner{Conn: Conn{Env: env}}
		r.Init(r, nullTransport{})
		data := make([]byte, 200)
		for p.Next() {
			if r.write(data, WriteStats{}, Idle) != Idle {
				b.Error("the write failed")
			}
		}
	})
}
