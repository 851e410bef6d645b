package measure

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	latencyRate   = 500 // events per second, evenly spaced
	latencyWarmUp = 2 * time.Second
	latencyTime   = 10 * time.Second
)

// Latency is measure 5. It measures the time from when a publish was due until a client
// has the event, with events in Redis.
func (b *Bench) Latency(ctx context.Context) error {
	return forEach(b.systems(), func(s system.System) error {
		return b.withSystem(ctx, s, setup{retain: 1000, redis: true}, func(tr *trial) error {
			w := load.Work{
				Publishers: publishers, Rooms: load.Rooms{Prefix: "latency-", Count: manyRooms},
				Rate: latencyRate, Time: latencyWarmUp, Latency: true,
			}
			if _, _, err := tr.openAndWork(s, w); err != nil {
				return err
			}
			w.To, w.Time = []load.Publish{s.Publish()}, latencyTime
			r, _, err := tr.work(w)
			if err != nil {
				return err
			}
			f := result.Figure{Measure: 5, Name: "500 events/s over 100 rooms, 1,000 clients, with Redis: p50", Unit: "ms", Targets: []result.Target{result.Limit(0.6)}}
			b.observe(f, s, milliseconds(r.Latency.P50), tr.counts())
			f.Name, f.Targets = "500 events/s over 100 rooms, 1,000 clients, with Redis: p99", []result.Target{result.Limit(2)}
			b.observe(f, s, milliseconds(r.Latency.P99), tr.counts())
			return nil
		})
	})
}
