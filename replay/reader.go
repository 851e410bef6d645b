package replay

import (
	"container/heap"
	"context"

	"github.com/tidemark/tidemark/streams"
)

// pageBudget bounds the events that a Reader holds read and not yet given, over
// all its rooms; each room's page is between minPage and maxPage of them.
const (
	pageBudget = 4096
	minPage    = 16
	maxPage    = 128 // at 64 KiB an event, 8 MiB: what one slow reader may cost
)

// Reason says why events may be missing.
type Reason string

// The reasons of a gap notice.
const (
	Trimmed Reason = "trimmed" // the room's cap has dropped them
	Expired Reason = "expired" // they grew older than the room keeps them
	Reset   Reason = "reset"   // the log lost its end, or the cursor is of another log
	UnknownCursor Reason = "unknown" // the cursor could not be read
)

// A Gap says that events of Room may be missing: those with After < id < Before.
type Gap struct {
	Room          streams.Room
	After, Before streams.ID
	Reason        Reason
}

// An Item is one thing that a connection is to be told: an event or a gap.
type Item struct {
	Event *streams.Event // nil for a gap
	Gap   *Gap

	// Place is where the item stands in the order: an event's id, or the position
	// after the hole.
	Place streams.ID

	// Position is the cursor after this item. After a notice it lags behind Place
	// while others, of other rooms, are still to be told before there: a client cut
	// between the two is told of the hole again rather than of them never.
	Position streams.ID
}

// A Reader reads rooms of one partition from the log, merged in the order of
// ids, with each notice before all that came after its hole began, up to a barrier: the partition's last id when its Edges were read. One
// goroutine may use it at a time. After an error it may be used again, and goes
// on where it was.
type Reader struct {
	log    Source
	edges  streams.Watermarks
	page   int
	tracks trackHeap // those with something pending, the earliest first
	idle   []*track  // those whose next page is not read yet
	pos    streams.ID
}

// NewReader returns a Reader of tracks. edges must have been read for just the
// rooms of tracks, in their order (a tail may have been read after Last, never
// before), and after the client's live subscription stood: then what is not at or
// before edges.Last comes live.
func NewReader(log Source, edges streams.Watermarks, tracks []Track) *Reader {
	r := &Reader{
		log:   log,
		edges: edges,
		page:  min(max(pageBudget/max(len(tracks), 1), minPage), maxPage),
	}
	for i, t := range tracks {
		r.idle = append(r.idle, &track{Track: t, tail: edges.Tails[i]})
	}
	if len(tracks) > 0 {
		r.pos = InitialPosition(tracks)
	}
	return r
}

// Barrier is the position that the Reader reads up to, and stands at when it is done.
func (r *Reader) Barrier() streams.ID { return r.edges.Last }

// Next returns the next items, at most max; none means that the Reader has
// reached its barrier. Errors are the log's; no item is lost by one.
func (r *Reader) Next(ctx context.Context, max int) ([]Item, error) {
	var items []Item
	for len(items) < max {
		if err := r.fill(ctx); err != nil {
			if len(items) > 0 {
				return items, nil // the next call meets the error again
			}
			return nil, err
		}
		if len(r.tracks) == 0 {
			break
		}
		items = append(items, r.pop())
	}
	return items, nil
}

// fill reads pages until every track has something pending or has ended, for
// only then is the earliest known.
func (r *Reader) fill(ctx context.Context) error {
	for len(r.idle) > 0 {
		t := r.idle[len(r.idle)-1]
		if err := t.read(ctx, r.log, &r.edges, r.page); err != nil {
			return err
		}
		r.idle = r.idle[:len(r.idle)-1]
		if len(t.pending) > 0 {
			heap.Push(&r.tracks, t)
		}
	}
	return nil
}

// pop takes the earliest pending item.
func (r *Reader) pop() Item {
	t := r.tracks[0]
	step := t.pending[0]
	t.pending = t.pending[1:]
	switch {
	case len(t.pending) > 0:
		heap.Fix(&r.tracks, 0)
	default:
		heap.Pop(&r.tracks)
		if !t.ended {
			r.idle = append(r.idle, t)
		}
	}
	if step.event != nil || len(r.tracks) == 0 || step.place.Before(r.tracks[0].pending[0].order) {
		r.pos = step.place // back, where the cursor was of the future
	}
	return Item{Event: step.event, Gap: step.gap, Place: step.place, Position: r.pos}
}

// A track is the state of one room in a Reader.
type track struct {
	Track
	tail    streams.ID
	pending []step // read and not yet given, in order
	ended   bool
}

// A step is an item and its place in the order of the partition.
//
// Steps are given in their order. That of an event is its place. That of a notice is
// where the hole begins and not its place, which is where it ends: the events of
// other rooms in between move the cursor on, and a client that is cut among them, or
// goes on from memory there, has to know of the hole already.
type step struct {
	place, order streams.ID
	event        *streams.Event
	gap          *Gap
}

// read appends the next page of the room to pending, with the gaps before,
// between and after its events in their places. After an error it goes on behind
// what is pending.
func (t *track) read(ctx context.Context, log Source, edges *streams.Watermarks, page int) error {
	if edges.Last.Before(t.Pos) {
		// The client has seen what this log has never held.
		t.gap(Reset, edges.Last, edges.Last.Next())
		t.ended = true
		return nil
	}
	if !t.Pos.Before(t.tail) { // also where there is no tail record, hence no event
		return t.end(ctx, log, edges)
	}
	events, err := log.After(ctx, t.Room, t.Pos, edges.Last, page)
	if err != nil {
		return err
	}
	for _, e := range events {
		t.event(e, edges)
	}
	if len(events) < page {
		return t.end(ctx, log, edges)
	}
	return nil
}

// event puts e in its place, after a gap if the log does not prove that e
// follows Pos.
func (t *track) event(e *streams.Event, edges *streams.Watermarks) {
	from := e.Prev // the room is complete from here to e
	lost := t.Pos.Before(edges.Floor) && edges.Floor.Before(e.ID)
	if lost {
		from = streams.Later(from, edges.Floor)
	}
	switch {
	case t.Unknown:
		t.gap(UnknownCursor, from, e.ID)
	case t.Lax:
	case lost:
		t.reset(edges, from, e.ID)
	case t.Pos.Before(from):
		t.gap(Trimmed, from, e.ID)
	}
	t.Lax, t.Unknown = false, false
	t.pending = append(t.pending, step{place: e.ID, order: e.ID, event: e})
	t.Pos = e.ID
}

// end tells what is missing between Pos and the barrier, once the log has no
// more events there. After an error read may be called again.
func (t *track) end(ctx context.Context, log Source, edges *streams.Watermarks) error {
	to := t.tail
	if to.IsZero() {
		to = edges.Base()
	}
	if edges.Last.Before(to) {
		to = edges.Last // the tail was read after the barrier
	}
	lost := t.Pos.Before(edges.Floor)
	if lost {
		to = streams.Later(to, edges.Floor)
	}
	switch {
	case t.Unknown:
		t.gap(UnknownCursor, to, to.Next())
	case t.Lax:
	case lost:
		t.reset(edges, to, to.Next())
	case t.Pos.Before(to):
		later, err := log.After(ctx, t.Room, t.Pos, streams.MakeID(1<<48-1, 1<<64-1, to.Partition()), 1)
		if err != nil {
			return err
		}
		switch {
		case len(later) == 0:
			t.gap(Expired, to, to.Next())
		case t.Pos.Before(later[0].Prev):
			t.gap(Trimmed, to, to.Next()) // by what was published since the barrier
		}
	}
	t.ended = true
	return nil
}

// gap puts a notice at place, from which on the room is complete again.
func (t *track) gap(why Reason, place, before streams.ID) {
	t.gapFrom(t.Pos, why, place, before)
}

// reset puts a notice of a loss at place. What is missing may lie before Pos: events
// that were logged after the loss, by a node that did not know of it, came as if they
// followed what was there before.
func (t *track) reset(edges *streams.Watermarks, place, before streams.ID) {
	from := t.Pos
	if !edges.LostAfter.IsZero() && edges.LostAfter.Before(from) {
		from = edges.LostAfter
	}
	t.gapFrom(from, Reset, place, before)
}

func (t *track) gapFrom(from streams.ID, why Reason, place, before streams.ID) {
	t.pending = append(t.pending, step{place: place, order: t.Pos, gap: &Gap{
		Room: t.Room, After: from, Before: before, Reason: why,
	}})
	t.Pos = place
}

// trackHeap orders tracks by the place of what they have pending.
type trackHeap []*track

func (h trackHeap) Len() int { return len(h) }
func (h trackHeap) Less(i, j int) bool {
	return h[i].pending[0].order.Before(h[j].pending[0].order)
}
func (h trackHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *trackHeap) Push(t any)   { *h = append(*h, t.(*track)) }
func (h *trackHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	*h = (*h)[:last]
	return t
}
