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
	// broadcastClients follow the same room.
	broadcastClients = 10_000
	// broadcasts is the number of events per repetition. Their median counts.
	broadcasts = 10
	// broadcastPause lets the system idle between two events.
	broadcastPause = 200 * time.Millisecond
)

// Broadcast is measure 1. It measures the time from the POST of one event until the
// last of 10,000 clients of the room has it.
func (b *Bench) Broadcast(ctx context.Context) error {
	sse := func(s system.System) error {
		return b.broadcast(ctx, s, system.SSE, result.TimesOf(1.15, result.BareWrites), result.BetterThan(result.Nchan))
	}
	socket := func(s system.System) error {
		return b.broadcast(ctx, s, system.WebSocket, result.BetterThan(result.Nchan))
	}
	if err := forEach(append(b.systems(), b.BareWrites), sse); err != nil {
		return err
	}
	return forEach(b.systems(), socket)
}

func (b *Bench) broadcast(ctx context.Context, s system.System, t system.Transport, targets ...result.Target) error {
	return b.withSystem(ctx, s, setup{retain: 100}, func(tr *trial) error {
		follow, ok := s.Follow(t)
		if !ok {
			return nil
		}
		if err := tr.follow(follow, load.Room("all"), broadcastClients); err != nil {
			return err
		}
		var times []time.Duration
		for range broadcasts + 1 {
			r, err := tr.do(load.Command{Work: &load.Work{
				To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: load.Room("all"), Events: 1,
			}})
			if err != nil {
				return err
			}
			times = append(times, r.Elapsed)
			if err := tr.pause(broadcastPause); err != nil {
				return err
			}
		}
		times = times[1:] // the first event pays for cold caches and new buffers
		slices.Sort(times)
		f := result.Figure{Measure: 1, Name: "10,000 " + string(t) + " clients: until the last has the event", Unit: "ms", Targets: targets}
		b.observe(f, s, milliseconds(times[len(times)/2]), tr.counts())
		return nil
	})
}
