package measure

import (
	"context"
	"slices"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	// broadcastClients follow the one room.
	broadcastClients = 10_000
	// broadcasts are the events of one repetition, of which the median counts.
	broadcasts = 10
	// broadcastPause lets all come to rest between two events.
	broadcastPause = 200 * time.Millisecond
)

// Broadcast is measure 1: one event to 10,000 clients of a room, from the POST until
// the last has it.
func (b *Bench) Broadcast(ctx context.Context) error {
	sse := func(s system.System) error {
		return b.broadcast(ctx, s, system.SSE, result.TimesOf(1.15, result.Floor), result.AheadOf(result.Nchan))
	}
	socket := func(s system.System) error {
		return b.broadcast(ctx, s, system.WebSocket, result.AheadOf(result.Nchan))
	}
	if err := forEach(append(b.all(), b.Floor), sse); err != nil {
		return err
	}
	return forEach(b.all(), socket)
}

func (b *Bench) broadcast(ctx context.Context, s system.System, t system.Transport, reach ...result.Bound) error {
	return b.with(ctx, s, setup{retain: 100}, func(k *session) error {
		follow, ok := s.Follow(t)
		if !ok {
			return nil
		}
		if err := k.follow(follow, load.Room("all"), broadcastClients); err != nil {
			return err
		}
		var times []time.Duration
		for range broadcasts + 1 {
			r, err := k.do(load.Command{Work: &load.Work{
				To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: load.Room("all"), Events: 1,
			}})
			if err != nil {
				return err
			}
			times = append(times, r.Elapsed)
			if err := k.pause(broadcastPause); err != nil {
				return err
			}
		}
		times = times[1:] // the first one finds caches cold and buffers not made
		slices.Sort(times)
		f := result.Figure{Measure: 1, Name: "10,000 " + string(t) + " clients, until the last has it", Unit: "ms", Reach: reach}
		b.observe(f, s, milliseconds(times[len(times)/2]), k.counts())
		return nil
	})
}
