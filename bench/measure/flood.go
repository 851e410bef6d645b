package measure

import (
	"context"
	"errors"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	floodClients = 1_000
	// floodPublishers are connections that each wait for the answer to a POST before
	// they send the next.
	floodPublishers = 64
	floodEvents     = 4_000
	spreadRooms     = 100
	spreadEvents    = 20_000
)

// Flood is measure 3: as many events as go through, to 1,000 clients of one room,
// and to as many of 100 rooms with the events in Redis.
func (b *Bench) Flood(ctx context.Context) error {
	return errors.Join(
		forEach(b.all(), func(s system.System) error { return b.flood(ctx, s) }),
		forEach(b.all(), func(s system.System) error { return b.spreadFlood(ctx, s) }),
	)
}

func (b *Bench) flood(ctx context.Context, s system.System) error {
	return b.with(ctx, s, setup{retain: 2 * floodEvents}, func(k *session) error {
		w := load.Work{Publishers: floodPublishers, Rooms: load.Room("flood"), Events: floodEvents}
		r, used, err := k.flooded(s, w)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of one room", Unit: "deliveries/s", Higher: true, Reach: []result.Bound{result.Limit(600_000)},
		}, s, perSecond(r.Delivered, r.Elapsed), k.counts())
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of one room, server CPU", Unit: "µs/delivery", Reach: []result.Bound{result.Limit(2)},
		}, s, float64(used.server.Microseconds())/float64(r.Delivered), k.counts())
		return nil
	})
}

func (b *Bench) spreadFlood(ctx context.Context, s system.System) error {
	return b.with(ctx, s, setup{retain: spreadEvents, redis: true}, func(k *session) error {
		w := load.Work{Publishers: floodPublishers, Rooms: load.Rooms{Prefix: "spread-", Count: spreadRooms}, Events: spreadEvents}
		r, _, err := k.flooded(s, w)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of 100 rooms, with Redis", Unit: "deliveries/s", Higher: true,
			Reach: []result.Bound{result.AheadOf(result.Nchan)},
		}, s, perSecond(r.Delivered, r.Elapsed), k.counts())
		return nil
	})
}

// flooded opens the clients, over SSE where the system has it, and does the work.
func (k *session) flooded(s system.System, w load.Work) (r load.Report, used usage, err error) {
	if err := k.follow(favourite(s), w.Rooms, floodClients); err != nil {
		return r, used, err
	}
	w.To = []load.Publish{s.Publish()}
	return k.work(w)
}

// favourite is SSE where the system has it.
func favourite(s system.System) load.Follow {
	f, ok := s.Follow(system.SSE)
	if !ok {
		f, _ = s.Follow(system.WebSocket)
	}
	return f
}
