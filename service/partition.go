package service

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/tidemark/tidemark/streams"
)

// watermarkRooms bounds the rooms of one call of Log.Watermarks, so that the call keeps
// the log from other work for well under a millisecond.
const watermarkRooms = 500

// A partition is the state of one partition that its pump and its subscriptions share.
type partition struct {
	// Fixed by newPartition.
	id       streams.Partition
	log      streams.Log
	feed     streams.Feed
	opts     *Options
	metrics  *metrics
	logger   *slog.Logger
	health   *health
	registry *registry
	memory   *memory
	lookups  singleflight.Group // of sharedWatermarks

	// mu is held while the hot tail of any room grows. A subscription of several rooms
	// holds it to see all of them at one moment.
	mu      sync.Mutex
	pos     streams.ID // the newest event delivered to a room
	handled streams.ID // the newest event taken from the feed: all before it were delivered
}

func newPartition(log streams.Log, id streams.Partition, opts *Options, m *metrics, o *outages, mem *memory) *partition {
	p := &partition{
		id:      id,
		log:     log,
		feed:    log.Feed(id),
		opts:    opts,
		metrics: m,
		memory:  mem,
		logger:  opts.Logger.With("partition", id),
	}
	p.registry = newRegistry(p.feed, opts, m.rooms, mem)
	p.health = &health{outages: o, count: m.unavailable, logger: p.logger, onOutage: p.wakeAll}
	return p
}

// wakeAll wakes every subscription.
func (p *partition) wakeAll() {
	for _, r := range p.registry.all() {
		r.wake()
	}
}

// readWatermarks reads the watermarks of any number of rooms. It reads Last before every
// tail.
func (p *partition) readWatermarks(ctx context.Context, rooms []*room) (streams.Watermarks, error) {
	names := make([]streams.Room, len(rooms))
	for i, r := range rooms {
		names[i] = r.name
	}
	var all streams.Watermarks
	for from := 0; from < len(names); from += watermarkRooms {
		part, err := p.log.Watermarks(ctx, p.id, names[from:min(from+watermarkRooms, len(names))])
		if err != nil {
			return streams.Watermarks{}, err
		}
		if from == 0 {
			all = part
			continue
		}
		if part.Floor != all.Floor {
			all.Tails, from = nil, -watermarkRooms // the log lost events meanwhile: start again
			continue
		}
		all.Tails = append(all.Tails, part.Tails...)
	}
	return all, nil
}

// watermarks is readWatermarks, and records whether the log answered.
func (p *partition) watermarks(ctx context.Context, rooms []*room) (streams.Watermarks, error) {
	w, err := p.readWatermarks(ctx, rooms)
	p.health.record(ctx, err)
	return w, err
}

// sharedWatermarks is watermarks for a subscription. Subscriptions that ask for the same
// room at the same time share one read. ready holds the channels that awaitReady returned.
// With it, no subscription shares an answer from before the feed was lost.
func (p *partition) sharedWatermarks(ctx context.Context, rooms []*room, ready []chan struct{}) (streams.Watermarks, error) {
	if len(rooms) > 1 {
		return p.watermarks(ctx, rooms)
	}
	key := fmt.Sprintf("%s %p", rooms[0].name, ready[0])
	shared := context.WithoutCancel(ctx) // the log has a time limit of its own
	answer := p.lookups.DoChan(key, func() (any, error) {
		defer runtime.KeepAlive(ready) // no other channel may get this address meanwhile
		return p.watermarks(shared, rooms)
	})
	select {
	case a := <-answer:
		w, _ := a.Val.(streams.Watermarks)
		return w, a.Err
	case <-ctx.Done():
		return streams.Watermarks{}, ctx.Err()
	}
}
