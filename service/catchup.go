package service

import (
	"context"
	"slices"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// open finds where the part starts. Its position is then the cursor to send first.
func (ps *partitionSub) open(ctx context.Context) error {
	if ps.start.IsNow() && ps.startNow() {
		return nil
	}
	pos, ok := ps.start.Position(ps.partition.id, ps.partition.log.Partitions())
	if ok {
		ps.located(pos)
		if ps.inHotTails() {
			return nil
		}
	}
	return ps.startReplay(ctx)
}

// startNow goes live at the pump's position, if the pump has one for every room.
func (ps *partitionSub) startNow() bool {
	defer ps.lockRooms()()
	var pos streams.ID
	for _, r := range ps.rooms {
		if !r.known {
			return false
		}
		pos = streams.Later(pos, r.pos)
	}
	ps.verified = true
	ps.advance(pos, true)
	ps.goLive(pos)
	return true
}

// next returns the next items of a part that is behind: from the hot tails if they reach
// back to its position, else from the log. No items and no error mean that it is live.
func (ps *partitionSub) next(ctx context.Context) ([]replay.Item, error) {
	for {
		if items, err := ps.nextFromMemory(); err == nil {
			return items, nil
		}
		if ps.reader == nil {
			if err := ps.startReplay(ctx); err != nil {
				return nil, err
			}
			continue // the hot tails may reach further back now
		}
		items, err := ps.nextFromLog(ctx)
		if err != nil || len(items) > 0 {
			return items, err
		}
	}
}

// nextFromMemory returns the next items of a part that is behind, or errNotInMemory. No
// items and no error mean that it is live.
func (ps *partitionSub) nextFromMemory() ([]replay.Item, error) {
	items, live := ps.nextFromHotTails()
	if !live && len(items) == 0 {
		return nil, errNotInMemory
	}
	ps.reader = nil
	return items, nil
}

// nextFromLog returns the reader's next items that the connection has not received. If
// it returns none, the caller must try memory again.
func (ps *partitionSub) nextFromLog(ctx context.Context) ([]replay.Item, error) {
	if err := ps.sub.takeTurn(); err != nil {
		return nil, err
	}
	items, err := ps.reader.Next(ctx, batch, batchBytes)
	if err != nil {
		return nil, err
	}
	ps.partition.health.answered()
	ps.verified = true
	if len(items) == 0 {
		ps.advance(ps.reader.Barrier(), true)
		ps.reader, ps.readerOnly = nil, false
		return nil, nil
	}
	ps.advance(items[len(items)-1].Position, true)
	items = ps.dedupe(items)
	for _, it := range items {
		if it.Gap != nil {
			ps.sub.metrics.countGap(it.Gap)
		}
	}
	return items, nil
}

// inHotTails reports whether the hot tails hold every event after the part's position.
func (ps *partitionSub) inHotTails() bool {
	defer ps.lockRooms()()
	for _, r := range ps.rooms {
		if _, ok := r.hotAfterLocked(ps.pos, ps.verified); !ok {
			return false
		}
	}
	return true
}

// nextFromHotTails returns the next items from the hot tails, if these hold every event
// after the part's position. live says that no item follows and that the part has gone
// live after these.
func (ps *partitionSub) nextFromHotTails() (items []replay.Item, live bool) {
	if ps.state == locating || ps.readerOnly {
		return nil, false
	}
	if ps.reader != nil && len(ps.gaps) > 0 {
		// The client has a gap notice, and its cursor has not reached the end of the gap.
		// Events read from the log count as coverage. Without it, the pump would send the
		// same notice once more.
		return nil, false
	}
	defer ps.lockRooms()()
	events, more, ok := ps.hotEvents()
	if !ok {
		return nil, false
	}
	pos := ps.pos
	for _, e := range events {
		items = append(items, itemOf(e))
		pos = e.ID
	}
	if !more {
		ps.goLive(pos)
	}
	ps.verified = true
	ps.advance(pos, false)
	return items, !more
}

// hotEvents returns the next events after the part's position, in order, at most batch.
// more says that others follow; ok is false if the hot tails do not hold all of them. The
// caller must hold the rooms.
func (ps *partitionSub) hotEvents() (events []*streams.Event, more, ok bool) {
	for _, r := range ps.rooms {
		hot, all := r.hotAfterLocked(ps.pos, ps.verified)
		if !all {
			return nil, false, false
		}
		if len(hot) > batch {
			hot, more = hot[:batch], true
		}
		events = append(events, hot...)
	}
	if len(ps.rooms) > 1 {
		slices.SortFunc(events, func(a, b *streams.Event) int { return a.ID.Compare(b.ID) })
	}
	if n := firstThatFit(events, batch, batchBytes); n < len(events) {
		events, more = events[:n], true
	}
	if n := len(events); n > 0 && ps.commonEnd().Before(events[n-1].ID) {
		return nil, false, false
	}
	return events, more, true
}

// startReplay starts to read the log: after the part's position, or from its start if it
// is still locating.
func (ps *partitionSub) startReplay(ctx context.Context) error {
	w, err := ps.watermarks(ctx)
	if err != nil {
		return err
	}
	start := ps.start
	if ps.state != locating {
		start = replay.After(replay.CursorAt(ps.pos))
	}
	log := ps.partition.log
	names := make([]streams.Room, len(ps.rooms))
	for i, r := range ps.rooms {
		names[i] = r.name
	}
	starts, err := replay.Locate(ctx, log, log.Partitions(), ps.partition.id, w, names, start)
	if err != nil {
		return err
	}
	for i, r := range ps.rooms {
		if starts[i].Pos.Before(w.Tails[i]) {
			if err := r.fill(ctx, log, w.Floor, ps.partition.opts.Hot, needed(starts[i])); err != nil {
				return err
			}
		}
	}
	if ps.state == locating {
		ps.located(replay.InitialPosition(starts))
	}
	ps.verified = !w.Last.Before(ps.pos)
	ps.reader = replay.NewReader(log, w, starts)
	ps.readerOnly = slices.ContainsFunc(starts, func(s replay.RoomStart) bool { return s.Pos != starts[0].Pos })
	ps.partition.metrics.catchUps.Inc()
	return nil
}

// needed returns the position from which a replay needs events; zero for the oldest.
func needed(s replay.RoomStart) streams.ID {
	if s.FromOldest || s.Unknown {
		return streams.ID{}
	}
	return s.Pos
}

// watermarks reads the watermarks of the part's rooms, at a moment after which the pump
// delivers every event of them.
func (ps *partitionSub) watermarks(ctx context.Context) (streams.Watermarks, error) {
	for {
		ready := make([]chan struct{}, len(ps.rooms))
		for i, r := range ps.rooms {
			var err error
			if ready[i], err = r.awaitReady(ctx); err != nil {
				return streams.Watermarks{}, err
			}
		}
		w, err := ps.partition.sharedWatermarks(ctx, ps.rooms, ready)
		if err != nil {
			return streams.Watermarks{}, err
		}
		if ps.state != locating && w.Last.Before(ps.pos) {
			// Either the cursor is of another log, or the answer was shared and is older
			// than the cursor. Ask again, without sharing.
			if w, err = ps.partition.readWatermarks(ctx, ps.rooms); err != nil {
				return streams.Watermarks{}, err
			}
		}
		known := true
		for i, r := range ps.rooms {
			known = r.setBaseline(ready[i], w.Last) && known
		}
		if known {
			return w, nil
		}
	}
}
