package measure

import (
	"context"
	"errors"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	growthEvents = 20_000
	growthRooms  = 100

	// nodePublishers and nodeEvents are those of each node, so that each has as much
	// to do however many there are.
	nodePublishers = 16
	nodeEvents     = 10_000

	// sameCost is by how much a cost that does not grow may differ, on a machine that
	// never does the same work in quite the same time.
	sameCost = 1.25

	mebibyte = 1 << 20
)

// Growth is measure 9: what one publish costs, in servers and Redis together, and what
// a node has in memory, over the number of rooms, connections and nodes.
func (b *Bench) Growth(ctx context.Context) error {
	var errs []error
	for _, rooms := range []int{1, 1_000, 100_000} {
		errs = append(errs, b.growRooms(ctx, rooms))
	}
	for _, clients := range []int{0, 5_000, 10_000} {
		errs = append(errs, b.growConnections(ctx, clients))
	}
	for _, nodes := range []int{1, 2, 4} {
		errs = append(errs, b.growNodes(ctx, nodes))
	}
	for _, rooms := range []int{1, 1_000, 10_000} {
		errs = append(errs, b.growHotRooms(ctx, rooms))
	}
	return errors.Join(errs...)
}

// growRooms publishes into so many rooms that nobody follows.
func (b *Bench) growRooms(ctx context.Context, rooms int) error {
	return b.with(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(k *session) error {
		w := load.Work{
			To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers,
			Rooms: load.Rooms{Prefix: "growth-", Count: rooms}, Events: max(rooms, growthEvents),
		}
		if _, _, err := k.work(w); err != nil { // each room has its keys then
			return err
		}
		w.Events = growthEvents
		if err := b.costOf(k, w, "rooms", rooms, sameCost); err != nil {
			return err
		}
		if err := k.pause(memorySettle); err != nil {
			return err
		}
		memory, err := system.Memory(k.pids...)
		b.observeAt(result.Series{
			Measure: 9, Name: "memory of a node", Over: "rooms that nobody follows", Unit: "MiB", Growth: sameCost,
		}, float64(rooms), float64(memory)/mebibyte, k.counts())
		return err
	})
}

// growConnections publishes while so many clients follow other rooms.
func (b *Bench) growConnections(ctx context.Context, clients int) error {
	return b.with(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(k *session) error {
		follow, _ := b.Tidemark.Follow(system.SSE)
		if err := k.follow(follow, load.Rooms{Prefix: "idle-", Count: growthRooms}, clients); err != nil {
			return err
		}
		if err := k.pause(memorySettle); err != nil {
			return err
		}
		memory, err := system.Memory(k.pids...)
		if err != nil {
			return err
		}
		b.observeAt(result.Series{Measure: 9, Name: "memory of a node", Over: "idle connections", Unit: "MiB"},
			float64(clients), float64(memory)/mebibyte, k.counts())
		return b.costOf(k, load.Work{
			To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers,
			Rooms: load.Rooms{Prefix: "growth-", Count: growthRooms}, Events: growthEvents,
		}, "idle connections", clients, sameCost)
	})
}

// growNodes publishes through so many nodes, which follow a part of the rooms each.
func (b *Bench) growNodes(ctx context.Context, nodes int) error {
	t := b.Tidemark
	return b.with(ctx, t, setup{retain: 1000, redis: true, nodes: nodes}, func(k *session) error {
		w := load.Work{
			Publishers: nodes * nodePublishers, Rooms: load.Rooms{Prefix: "growth-", Count: growthRooms}, Events: nodes * nodeEvents,
		}
		part := growthRooms / nodes
		for n := range nodes {
			w.To = append(w.To, t.PublishAt(n))
			mine := load.Rooms{Prefix: w.Rooms.Prefix, First: n * part, Count: part}
			if err := k.follow(t.FollowAt(n, system.SSE), mine, part); err != nil {
				return err
			}
		}
		before, err := t.Metric("tidemark_received_total")
		if err != nil {
			return err
		}
		// All nodes share one machine's processors, and its time for each call: what
		// that costs says nothing of nodes that have machines of their own.
		const noBound = 0
		if err := b.costOf(k, w, "nodes", nodes, noBound); err != nil {
			return err
		}
		after, err := t.Metric("tidemark_received_total")
		b.observeAt(result.Series{
			Measure: 9, Name: "events that come to any node, for each publish", Over: "nodes", Unit: "events", Growth: sameCost,
		}, float64(nodes), (after-before)/float64(k.known.Published), k.counts())
		return err
	})
}

// growHotRooms lets clients follow so many rooms, each of which has had five events.
func (b *Bench) growHotRooms(ctx context.Context, rooms int) error {
	const clients, events = 10_000, 5
	return b.with(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(k *session) error {
		follow, _ := b.Tidemark.Follow(system.SSE)
		hot := load.Rooms{Prefix: "hot-", Count: rooms}
		if err := k.follow(follow, hot, clients); err != nil {
			return err
		}
		w := load.Work{To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers, Rooms: hot, Events: events * rooms}
		if _, _, err := k.work(w); err != nil {
			return err
		}
		if err := k.pause(memorySettle); err != nil {
			return err
		}
		memory, err := system.Memory(k.pids...)
		b.observeAt(result.Series{
			Measure: 9, Name: "memory of a node with 10,000 connections", Over: "rooms with 5 events that are followed", Unit: "MiB",
		}, float64(rooms), float64(memory)/mebibyte, k.counts())
		return err
	})
}

// costOf does the work, and notes what one publish costs: in processor time, which may
// grow by the factor cpu, and in commands.
func (b *Bench) costOf(k *session, w load.Work, over string, x int, cpu float64) error {
	before, err := k.redis.Commands()
	if err != nil {
		return err
	}
	r, used, err := k.work(w)
	if err != nil {
		return err
	}
	after, err := k.redis.Commands()
	if err != nil {
		return err
	}
	each := func(name, unit string, total, growth float64) {
		b.observeAt(result.Series{Measure: 9, Name: name, Over: over, Unit: unit, Growth: growth},
			float64(x), total/float64(r.Published), k.counts())
	}
	each("server CPU of a publish", "µs", float64(used.server.Microseconds()), cpu)
	each("Redis CPU of a publish", "µs", float64(used.redis.Microseconds()), cpu)
	each("Redis commands of a publish", "commands", float64(sum(after)-sum(before)), sameCost)
	return nil
}

// sum counts the commands that are the publishes' and the feed's: not those of
// calls that come by themselves, nor INFO.
func sum(calls map[string]int64) (n int64) {
	for name, count := range calls {
		if name != "info" {
			n += count
		}
	}
	return n
}
