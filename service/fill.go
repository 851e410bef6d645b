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

// fill extends the hot tail backwards, once, by one read of the log. After a restart of
// the node many clients resume from positions before the tail, and all of them share this
// read. The tail does not reach back behind floor, because clients from before floor must
// receive a gap notice.
//
// One caller at a time reads and the others wait. If the read fails, the next caller
// tries. singleflight does not fit. It would return the error to every caller, and each of
// them would then read a slow log on its own.
func (r *room) fill(ctx context.Context, log streams.Log, floor streams.ID, maxHot int) error {
	for {
		r.mu.Lock()
		if r.filled || !r.known {
			r.mu.Unlock()
			return nil
		}
		other := r.filling
		if other == nil {
			r.filling = make(chan struct{})
			r.mu.Unlock()
			return r.fillNow(ctx, log, floor, maxHot)
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
func (r *room) fillNow(ctx context.Context, log streams.Log, floor streams.ID, maxHot int) error {
	r.mu.Lock()
	start, want := r.tail.start, maxHot-len(r.tail.events)
	r.mu.Unlock()
	var older streams.Page
	var err error
	if want > 0 {
		older, err = r.readOlder(ctx, log, start, want)
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
		r.tail.prepend(older.Events, floor)
		if len(r.tail.events) > before && r.newest.IsZero() {
			r.newest = r.tail.newest()
		}
	}
	r.filled = true
	return nil
}

// readOlder reads at most want events up to start that fit into a hot tail.
func (r *room) readOlder(ctx context.Context, log streams.Log, start streams.ID, want int) (streams.Page, error) {
	release, err := r.tail.memory.acquireFill(ctx)
	if err != nil {
		return streams.Page{}, err
	}
	defer release()
	return log.Before(ctx, r.name, start.Next(), streams.ReadLimit{Events: want, Bytes: hotBytes})
}
