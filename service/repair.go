package service

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/internal/backoff"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

const (
	// repairBatch bounds the events that a repair takes from the log at once, and
	// repairBytes their data.
	repairBatch, repairBytes = 256, 1 << 20
	// A repair that fails is retried after retryFirst, then after delays that double up
	// to retryMax, for as long as the node runs.
	retryFirst = 50 * time.Millisecond
	retryMax   = 2 * time.Second
)

// tryRecover ends a recovery once the feed has joined every room again. It reads the
// events logged meanwhile, of all rooms, and delivers them in one order.
func (p *pump) tryRecover(ctx context.Context) {
	if !p.recovering || len(p.rejoining) > 0 {
		return
	}
	if !p.repair(ctx, causeFeed, func() error { return p.readAll(ctx) }) {
		return // the node is closing
	}
	p.recovering = false
	p.registry.repaired()
}

// repair calls read until it succeeds. It returns false only when ctx has ended.
func (p *pump) repair(ctx context.Context, cause string, read func() error) bool {
	p.metrics.repairs.WithLabelValues(cause).Inc()
	retry := backoff.Backoff{First: retryFirst, Max: retryMax}
	for {
		err := read()
		if err == nil {
			p.health.answered()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.health.failed(err)
		p.logger.Debug("reading missing events failed; live delivery waits", "error", err)
		if retry.Wait(ctx) != nil {
			return false
		}
	}
}

// readAll delivers the events of all rooms that the log has after their positions. It
// reads all rooms at once, because the missing events of one room may come before events
// of another that the feed still holds. After an error each room continues at its position.
func (p *pump) readAll(ctx context.Context) error {
	rooms := p.registry.known()
	if len(rooms) == 0 {
		return nil
	}
	w, err := p.readWatermarks(ctx, rooms)
	if err != nil {
		return err
	}
	return p.read(ctx, rooms, w)
}

// readHole delivers the events that one room lacks up to the live event at through. The
// feed keeps its order, so every earlier event of the other rooms was delivered. If the
// log has lost events, it reads all rooms: each must receive its gap notice before any
// later event is delivered.
func (p *pump) readHole(ctx context.Context, r *room, through streams.ID) error {
	rooms := []*room{r}
	w, err := p.readWatermarks(ctx, rooms)
	if err != nil {
		return err
	}
	if pos, _ := r.position(); pos.Before(w.Floor) {
		rooms = p.registry.known()
		if w, err = p.readWatermarks(ctx, rooms); err != nil {
			return err
		}
	}
	if !through.Before(w.Floor) {
		w.Last = through
	}
	return p.read(ctx, rooms, w)
}

// read delivers the events and gaps of rooms between their positions and w.Last.
func (p *pump) read(ctx context.Context, rooms []*room, w streams.Watermarks) error {
	byName := make(map[streams.Room]*room, len(rooms))
	starts := make([]replay.RoomStart, len(rooms))
	for i, r := range rooms {
		byName[r.name] = r
		pos, _ := r.position()
		starts[i] = replay.RoomStart{Room: r.name, Pos: pos}
	}
	reader := replay.NewReader(p.log, w, starts)
	for {
		items, err := reader.Next(ctx, repairBatch, repairBytes)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if it.Event != nil {
				p.deliver(byName[it.Event.Room], it.Event, false)
			} else {
				p.deliverGap(byName[it.Gap.Room], it)
			}
		}
	}
	p.completeTo(w.Last, rooms)
	return nil
}
