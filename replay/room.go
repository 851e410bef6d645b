package replay

import (
	"context"

	"github.com/tidemark/tidemark/streams"
)

// A roomReader reads one room for a Reader. It moves its Pos forward as it reads.
type roomReader struct {
	RoomStart
	done    RoomStart // where reading must begin again after rewind
	tail    streams.ID
	pending []entry // read and not returned yet, in order
	bare    bool    // pending was read without data
	isNext  bool    // the next page must have data: its first event is the Reader's next
	ended   bool    // nothing follows pending
}

// An entry is an item and its rank in the order of the partition.
//
// An event's rank is its place. A gap's place is where the gap ends, but its rank is where
// the gap begins. Events of other rooms within the gap move the cursor forward. A client
// that disconnects among them, or continues from memory there, must know of the gap already.
type entry struct {
	place, order streams.ID
	event        *streams.Event
	gap          *Gap
}

// size returns about how much memory the entry takes.
func (e *entry) size() int {
	if e.event == nil {
		return 0
	}
	return entryBytes + len(e.event.Data)
}

// held returns about how much memory the data of pending takes; 0 if it was read without.
func (r *roomReader) held() (bytes int) {
	if r.bare {
		return 0
	}
	for i := range r.pending {
		bytes += r.pending[i].size()
	}
	return bytes
}

// lacksData reports whether the first pending entry is an event without its data.
func (r *roomReader) lacksData() bool { return r.bare && r.pending[0].event != nil }

// take removes and returns the first pending entry.
func (r *roomReader) take() entry {
	next := r.pending[0]
	r.pending = r.pending[1:]
	r.done = RoomStart{Room: r.Room, Pos: next.place}
	return next
}

// rewind forgets the pending entries: the next page begins after the items that were
// returned. If the log has dropped events since, the page begins with their gap.
func (r *roomReader) rewind() {
	r.RoomStart = r.done
	r.pending, r.bare, r.ended = nil, false, false
}

// read appends the next page of the room to pending, with the gaps before, between and
// after its events. After an error the caller must rewind.
func (r *roomReader) read(ctx context.Context, log Source, w *streams.Watermarks, limit streams.ReadLimit) error {
	r.bare = limit.WithoutData
	if w.Last.Before(r.Pos) {
		// The cursor is ahead of the log: this log never held the client's last event.
		r.addGap(r.Pos, Reset, w.Last, w.Last.Next())
		r.ended = true
		return nil
	}
	if !r.Pos.Before(r.tail) { // no later event; also without a tail record, hence without events
		return r.end(ctx, log, w)
	}
	got, err := log.After(ctx, r.Room, r.Pos, w.Last, limit)
	if err != nil {
		return err
	}
	r.isNext = false
	for _, e := range got.Events {
		r.addEvent(e, w)
	}
	if !got.More {
		return r.end(ctx, log, w)
	}
	return nil
}

// addEvent appends e, after a gap if the log does not prove that e follows Pos.
func (r *roomReader) addEvent(e *streams.Event, w *streams.Watermarks) {
	from := e.Prev // from here to e, no event is missing
	lost := r.Pos.Before(w.Floor) && w.Floor.Before(e.ID)
	if lost {
		from = streams.Later(from, w.Floor)
	}
	switch {
	case r.Unknown:
		r.addGap(r.Pos, UnknownCursor, from, e.ID)
	case r.FromOldest:
	case lost:
		r.addReset(w, from, e.ID)
	case r.Pos.Before(from):
		r.addGap(r.Pos, Trimmed, from, e.ID)
	}
	r.FromOldest, r.Unknown = false, false
	r.pending = append(r.pending, entry{place: e.ID, order: e.ID, event: e})
	r.Pos = e.ID
}

// end appends a gap if events may be missing between Pos and the barrier. The log must
// have no more events there.
func (r *roomReader) end(ctx context.Context, log Source, w *streams.Watermarks) error {
	to := r.tail
	if to.IsZero() {
		to = w.Base()
	}
	if w.Last.Before(to) {
		to = w.Last // the tail was read after the barrier
	}
	lost := r.Pos.Before(w.Floor)
	if lost {
		to = streams.Later(to, w.Floor)
	}
	switch {
	case r.Unknown:
		r.addGap(r.Pos, UnknownCursor, to, to.Next())
	case r.FromOldest:
	case lost:
		r.addReset(w, to, to.Next())
	case r.Pos.Before(to):
		later, err := log.After(ctx, r.Room, r.Pos, streams.MakeID(1<<48-1, 1<<64-1, to.Partition()), streams.ReadLimit{Events: 1, WithoutData: true})
		if err != nil {
			return err
		}
		switch {
		case len(later.Events) == 0:
			r.addGap(r.Pos, Expired, to, to.Next())
		case r.Pos.Before(later.Events[0].Prev):
			r.addGap(r.Pos, Trimmed, to, to.Next()) // by events published since the barrier
		}
	}
	r.ended = true
	return nil
}

// addReset appends the gap of a loss. The missing events may lie before Pos, because a node
// that did not know of the loss may have logged events over it. These seemed to follow the
// events before the loss.
func (r *roomReader) addReset(w *streams.Watermarks, place, before streams.ID) {
	from := r.Pos
	if !w.LostAfter.IsZero() && w.LostAfter.Before(from) {
		from = w.LostAfter
	}
	r.addGap(from, Reset, place, before)
}

// addGap appends a gap. After place, the room is complete again.
func (r *roomReader) addGap(after streams.ID, why Reason, place, before streams.ID) {
	r.pending = append(r.pending, entry{place: place, order: r.Pos, gap: &Gap{
		Room: r.Room, After: after, Before: before, Reason: why,
	}})
	r.Pos = place
}
