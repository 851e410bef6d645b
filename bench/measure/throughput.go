package measure

import (
	"context"
	"errors"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	throughputClients = 1_000
	// throughputPublishers is the number of connections. Each waits for the answer to a
	// POST before it sends the next.
	throughputPublishers = 64
	throughputEvents     = 4_000
	manyRooms            = 100
	manyRoomsEvents      = 20_000
)

// Throughput is measure 3. It publishes as fast as possible to 1,000 clients of one
// room, and to 1,000 clients of 100 rooms with events in Redis.
func (b *Bench) Throughput(ctx context.Context) error {
	return errors.Join(
		forEach(b.systems(), func(s system.System) error { return b.oneRoomThroughput(ctx, s) }),
		forEach(b.systems(), func(s system.System) error { return b.manyRoomsThroughput(ctx, s) }),
	)
}

func (b *Bench) oneRoomThroughput(ctx context.Context, s system.System) error {
	return b.withSystem(ctx, s, setup{retain: 2 * throughputEvents}, func(tr *trial) error {
		w := load.Work{Publishers: throughputPublishers, Rooms: load.Room("flood"), Events: throughputEvents}
		r, used, err := tr.openAndWork(s, w)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of one room", Unit: "deliveries/s", Higher: true, Targets: []result.Target{result.Limit(600_000)},
		}, s, perSecond(r.Delivered, r.Elapsed), tr.counts())
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of one room: server CPU", Unit: "µs/delivery", Targets: []result.Target{result.Limit(2)},
		}, s, float64(used.server.Microseconds())/float64(r.Delivered), tr.counts())
		return nil
	})
}

func (b *Bench) manyRoomsThroughput(ctx context.Context, s system.System) error {
	return b.withSystem(ctx, s, setup{retain: manyRoomsEvents, redis: true}, func(tr *trial) error {
		w := load.Work{Publishers: throughputPublishers, Rooms: load.Rooms{Prefix: "spread-", Count: manyRooms}, Events: manyRoomsEvents}
		r, _, err := tr.openAndWork(s, w)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 3, Name: "1,000 clients of 100 rooms, with Redis", Unit: "deliveries/s", Higher: true,
			Targets: []result.Target{result.BetterThan(result.Nchan)},
		}, s, perSecond(r.Delivered, r.Elapsed), tr.counts())
		return nil
	})
}

// openAndWork opens the clients and executes the work.
func (tr *trial) openAndWork(s system.System, w load.Work) (r load.Report, used cpuTimes, err error) {
	if err := tr.follow(preferredFollow(s), w.Rooms, throughputClients); err != nil {
		return r, used, err
	}
	w.To = []load.Publish{s.Publish()}
	return tr.work(w)
}

// preferredFollow returns SSE if the system supports it, otherwise WebSocket.
func preferredFollow(s system.System) load.Follow {
	f, ok := s.Follow(system.SSE)
	if !ok {
		f, _ = s.Follow(system.WebSocket)
	}
	return f
}
