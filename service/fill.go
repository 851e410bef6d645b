package service

import (
	"context"

	"github.com/tidemark/tidemark/streams"
)

// hotAfterLocked returns the events of the hot tail after pos. ok reports whether these
// are all events after pos. A position ahead of the pump counts only if it is verified:
// read from the log, not just sent by a client. The caller must hold r.mu.
func (r *room) hotAfterLocked(pos streams.ID, verified bool) (events []*streams.Event, ok bool) {
	if !r.known || pos.Before(r.tail.start) || r.pos.Before(pos) && !verified {
		return nil, false
	}
	return r.tail.after(pos), true
}

// nearEvents and nearBytes bound the first read of a fill. Most clients that return have missed
// less: they were away while the node restarted.
const nearEvents, nearBytes = 128, 128 << 10

// fill extends the hot tail backwards to from, so that one read of the log serves all clients
// that resume there or later. The zero from asks for as much as a hot tail holds. After a
// restart of the node many clients resume from positions before the tail. The tail does not
// reach back behind floor, because clients from before floor must receive a gap notice.
//
// A fill first reads the events after from. If these are many, it reads the newest events
// before the tail instead, as many as the tail holds, and is the last fill of the room. If
// too many fills of other rooms are running, fill does nothing.
//
// One caller at a time reads and the others wait. If the read fails, the next caller
// tries. singleflight does not fit. It would return the error to every caller, and each of
// them would then read a slow log on its own.
func (r *room) fill(ctx context.Context, log streams.Log, floor streams.ID, maxHot int, from streams.ID) error {
	for {
		r.mu.Lock()
		if r.filled || !r.known || !from.Before(r.tail.start) {
			r.mu.Unlock()
			return nil
		}
		other := r.filling
		if other == nil {
			if !r.tail.memory.beginFill() {
				r.mu.Unlock()
				return nil
			}
			defer r.tail.memory.endFill()
			r.filling = make(chan struct{})
			r.mu.Unlock()
			return r.fillNow(ctx, log, floor, maxHot, from)
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fillNow reads the log for fill and ends the turn that filling stands for.
func (r *room) fillNow(ctx context.Context, log streams.Log, floor streams.ID, maxHot int, from streams.ID) error {
	r.mu.Lock()
	start, want := r.tail.start, maxHot-len(r.tail.events)
	r.mu.Unlock()
	var older []*streams.Event
	var err error
	if want > 0 {
		older, err = r.readOlder(ctx, log, from, start, want)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.filling)
	r.filling = nil
	if err != nil {
		return err
	}
	if !r.filled && r.tail.start == start {
		before := len(r.tail.events)
		r.tail.prepend(older, floor)
		if len(r.tail.events) > before && r.newest.IsZero() {
			r.newest = r.tail.newest()
		}
	}
	r.filled = r.filled || from.Before(r.tail.start) // another fill would not reach further back
	return nil
}

// readOlder reads events up to start that fit into a hot tail, at most want: those after
// from, or the newest if these are many.
func (r *room) readOlder(ctx context.Context, log streams.Log, from, start streams.ID, want int) ([]*streams.Event, error) {
	if !from.IsZero() {
		near, err := log.After(ctx, r.name, from, start, streams.ReadLimit{Events: min(want, nearEvents), Bytes: nearBytes})
		if err != nil || !near.More {
			return near.Events, err
		}
	}
	page, err := log.Before(ctx, r.name, start.Next(), streams.ReadLimit{Events: want, Bytes: hotBytes})
	return page.Events, err
}
