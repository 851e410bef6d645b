package measure

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	latencyRate = 500 // events a second, evenly spaced
	latencyWarm = 2 * time.Second
	latencyTime = 10 * time.Second
)

// Latency is measure 5: from the time at which a publish should have been sent until
// a client has the event, with the events in Redis.
func (b *Bench) Latency(ctx context.Context) error {
	return forEach(b.all(), func(s system.System) error {
		return b.with(ctx, s, setup{retain: 1000, redis: true}, func(k *session) error {
			w := load.Work{
				Publishers: publishers, Rooms: load.Rooms{Prefix: "latency-", Count: spreadRooms},
				Rate: latencyRate, Time: latencyWarm, Latency: true,
			}
			if _, _, err := k.flooded(s, w); err != nil {
				return err
			}
			w.To, w.Time = []load.Publish{s.Publish()}, latencyTime
			r, _, err := k.work(w)
			if err != nil {
				return err
			}
			f := result.Figure{Measure: 5, Name: "500 events/s over 100 rooms, 1,000 clients, with Redis: p50", Unit: "ms", Reach: []result.Bound{result.Limit(0.6)}}
			b.observe(f, s, milliseconds(r.Latency.P50), k.counts())
			f.Name, f.Reach = "500 events/s over 100 rooms, 1,000 clients, with Redis: p99", []result.Bound{result.Limit(2)}
			b.observe(f, s, milliseconds(r.Latency.P99), k.counts())
			return nil
		})
	})
}
