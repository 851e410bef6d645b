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

	// nodePublishers and nodeEvents apply to each node, so the work per node does not
	// depend on the number of nodes.
	nodePublishers = 16
	nodeEvents     = 10_000

	// costTolerance is the growth allowed for a cost that should stay constant. Two
	// runs of the same work on one machine differ too.
	costTolerance = 1.25

	mebibyte = 1 << 20
)

// Growth is measure 9. It measures the cost of one publish in servers and Redis, and
// the memory of a node. It varies the number of rooms, connections and nodes.
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
		errs = append(errs, b.growFollowedRooms(ctx, rooms))
	}
	return errors.Join(errs...)
}

// growRooms publishes to the given number of rooms without followers.
func (b *Bench) growRooms(ctx context.Context, rooms int) error {
	return b.withSystem(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(tr *trial) error {
		w := load.Work{
			To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers,
			Rooms: load.Rooms{Prefix: "growth-", Count: rooms}, Events: max(rooms, growthEvents),
		}
		if _, _, err := tr.work(w); err != nil { // creates the keys of each room
			return err
		}
		w.Events = growthEvents
		if err := b.observePublishCost(tr, w, "rooms", rooms, costTolerance); err != nil {
			return err
		}
		if err := tr.pause(memoryIdleTime); err != nil {
			return err
		}
		memory, err := system.Memory(tr.pids...)
		b.observeAt(result.Series{
			Measure: 9, Name: "memory of a node", Over: "rooms without followers", Unit: "MiB", MaxGrowth: costTolerance,
		}, float64(rooms), float64(memory)/mebibyte, tr.counts())
		return err
	})
}

// growConnections publishes while the given number of clients follow other rooms.
func (b *Bench) growConnections(ctx context.Context, clients int) error {
	return b.withSystem(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(tr *trial) error {
		follow, _ := b.Tidemark.Follow(system.SSE)
		if err := tr.follow(follow, load.Rooms{Prefix: "idle-", Count: growthRooms}, clients); err != nil {
			return err
		}
		if err := tr.pause(memoryIdleTime); err != nil {
			return err
		}
		memory, err := system.Memory(tr.pids...)
		if err != nil {
			return err
		}
		b.observeAt(result.Series{Measure: 9, Name: "memory of a node", Over: "idle connections", Unit: "MiB"},
			float64(clients), float64(memory)/mebibyte, tr.counts())
		return b.observePublishCost(tr, load.Work{
			To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers,
			Rooms: load.Rooms{Prefix: "growth-", Count: growthRooms}, Events: growthEvents,
		}, "idle connections", clients, costTolerance)
	})
}

// growNodes publishes through the given number of nodes. Each node follows its own part
// of the rooms.
func (b *Bench) growNodes(ctx context.Context, nodes int) error {
	t := b.Tidemark
	return b.withSystem(ctx, t, setup{retain: 1000, redis: true, nodes: nodes}, func(tr *trial) error {
		w := load.Work{
			Publishers: nodes * nodePublishers, Rooms: load.Rooms{Prefix: "growth-", Count: growthRooms}, Events: nodes * nodeEvents,
		}
		part := growthRooms / nodes
		for n := range nodes {
			w.To = append(w.To, t.PublishAt(n))
			mine := load.Rooms{Prefix: w.Rooms.Prefix, First: n * part, Count: part}
			if err := tr.follow(t.FollowAt(n, system.SSE), mine, part); err != nil {
				return err
			}
		}
		before, err := t.Metric("tidemark_received_total")
		if err != nil {
			return err
		}
		// All nodes share the processors of one machine. Their processor time says
		// nothing about nodes on machines of their own.
		const noLimit = 0
		if err := b.observePublishCost(tr, w, "nodes", nodes, noLimit); err != nil {
			return err
		}
		after, err := t.Metric("tidemark_received_total")
		b.observeAt(result.Series{
			Measure: 9, Name: "events received by all nodes, per publish", Over: "nodes", Unit: "events", MaxGrowth: costTolerance,
		}, float64(nodes), (after-before)/float64(tr.totals.Published), tr.counts())
		return err
	})
}

// growFollowedRooms opens clients that follow the given number of rooms, then publishes
// five events to each room.
func (b *Bench) growFollowedRooms(ctx context.Context, rooms int) error {
	const clients, events = 10_000, 5
	return b.withSystem(ctx, b.Tidemark, setup{retain: 1000, redis: true}, func(tr *trial) error {
		follow, _ := b.Tidemark.Follow(system.SSE)
		followed := load.Rooms{Prefix: "hot-", Count: rooms}
		if err := tr.follow(follow, followed, clients); err != nil {
			return err
		}
		w := load.Work{To: []load.Publish{b.Tidemark.Publish()}, Publishers: publishers, Rooms: followed, Events: events * rooms}
		if _, _, err := tr.work(w); err != nil {
			return err
		}
		if err := tr.pause(memoryIdleTime); err != nil {
			return err
		}
		memory, err := system.Memory(tr.pids...)
		b.observeAt(result.Series{
			Measure: 9, Name: "memory of a node with 10,000 connections", Over: "followed rooms with 5 events each", Unit: "MiB",
		}, float64(rooms), float64(memory)/mebibyte, tr.counts())
		return err
	})
}

// observePublishCost runs the work and records the processor time and the Redis
// commands per publish. maxCPUGrowth limits the growth of the processor time; 0 means
// no limit.
func (b *Bench) observePublishCost(tr *trial, w load.Work, over string, x int, maxCPUGrowth float64) error {
	before, err := tr.redis.Commands()
	if err != nil {
		return err
	}
	r, used, err := tr.work(w)
	if err != nil {
		return err
	}
	after, err := tr.redis.Commands()
	if err != nil {
		return err
	}
	each := func(name, unit string, total, maxGrowth float64) {
		b.observeAt(result.Series{Measure: 9, Name: name, Over: over, Unit: unit, MaxGrowth: maxGrowth},
			float64(x), total/float64(r.Published), tr.counts())
	}
	each("server CPU per publish", "µs", float64(used.server.Microseconds()), maxCPUGrowth)
	each("Redis CPU per publish", "µs", float64(used.redis.Microseconds()), maxCPUGrowth)
	each("Redis commands per publish", "commands", float64(countCommands(after)-countCommands(before)), costTolerance)
	return nil
}

// countCommands counts the Redis commands of publishes and feeds. It leaves out INFO,
// which the benchmark sends.
func countCommands(calls map[string]int64) (n int64) {
	for name, count := range calls {
		if name != "info" {
			n += count
		}
	}
	return n
}
