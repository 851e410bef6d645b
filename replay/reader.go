package replay

import (
	"container/heap"
	"context"

	"github.com/tidemark/tidemark/streams"
)

const (
	// pageEvents bounds the events of one page of a room.
	pageEvents = 128
	// A Reader holds roomBytes for each room, at least minHeld and at most maxHeld.
	roomBytes, minHeld, maxHeld = 32 << 10, 256 << 10, 1 << 20
	// minShare is the least data of one page.
	minShare = 1 << 10
	// entryBytes is about the memory of an event without its data.
	entryBytes = 256
	// bareEvents bounds the events of pages without data, over all rooms. A page has 1 to
	// maxBare of them.
	bareEvents, maxBare = 4096, 16
)

// HeldBytes returns about how much memory a Reader of so many rooms takes for events. Only
// rooms with events larger than a page of the room can make it take more: then it is at
// most the largest event of each room.
func HeldBytes(rooms int) int {
	return min(max(rooms*roomBytes, minHeld), maxHeld)
}

// A Source is the part of a streams.Log that a replay reads.
type Source interface {
	After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error)
	Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error)
}

// A Reader reads the rooms of one partition up to a barrier, which is the partition's last
// id when the watermarks were read. It merges the events by id. A gap notice comes before
// every event after the start of its gap.
//
// To merge, a Reader needs the earliest event of every room. It holds the data of as many
// events as HeldBytes allows. Of further rooms it holds only the ids, and reads the data of
// an event when the event is next.
//
// A Reader must be used by one goroutine at a time. After an error it may be used again
// and continues where it was.
type Reader struct {
	log        Source
	watermarks streams.Watermarks
	share      int           // data of one page: an equal part of bound
	bare       int           // events of one page without data
	bound      int           // of held
	held       int           // memory of the pending events with data
	ready      mergeHeap     // rooms with pending items, the earliest first
	unread     []*roomReader // rooms whose next page has not been read
	pos        streams.ID    // cursor after the last item
}

// NewReader returns a Reader of rooms from their starts.
//
// w must have been read for exactly these rooms, in their order. A tail may have been read
// after Last, but not before it. And w must have been read after the client's live
// subscription existed: then every event after w.Last arrives live.
func NewReader(log Source, w streams.Watermarks, starts []RoomStart) *Reader {
	rooms := max(len(starts), 1)
	r := &Reader{
		log:        log,
		watermarks: w,
		share:      max(HeldBytes(rooms)/rooms, minShare),
		bare:       min(max(bareEvents/rooms, 1), maxBare),
		bound:      HeldBytes(rooms),
	}
	for i, s := range starts {
		r.unread = append(r.unread, &roomReader{RoomStart: s, done: s, tail: w.Tails[i]})
	}
	if len(starts) > 0 {
		r.pos = InitialPosition(starts)
	}
	return r
}

// Barrier returns the position that the Reader reads up to. It is the client's cursor when
// the Reader is done.
func (r *Reader) Barrier() streams.ID { return r.watermarks.Last }

// Holds reports whether the Reader holds events that Next has not returned.
func (r *Reader) Holds() bool { return len(r.ready) > 0 }

// Drop forgets the events that the Reader has read ahead. Next reads them again. It is for
// a client that does not read.
func (r *Reader) Drop() {
	for _, room := range r.ready {
		room.rewind()
		r.unread = append(r.unread, room)
	}
	r.ready, r.held = nil, 0
}

// Next returns the next items: at most max, and no more after maxBytes of data. It returns
// none when the Reader has reached its barrier. Errors are the log's; an error loses no
// item.
func (r *Reader) Next(ctx context.Context, max, maxBytes int) ([]Item, error) {
	var items []Item
	for bytes := 0; len(items) < max && bytes < maxBytes; {
		if len(items) > 0 && len(r.unread) > 0 && bytes >= maxBytes/2 {
			break // enough: another page would be held until the next call
		}
		if err := r.fill(ctx); err != nil {
			if len(items) > 0 {
				return items, nil // the next call returns the error
			}
			return nil, err
		}
		if len(r.ready) == 0 {
			break
		}
		if r.ready[0].lacksData() {
			r.readNext()
			continue
		}
		it := r.pop()
		if it.Event != nil {
			bytes += len(it.Event.Data)
		}
		items = append(items, it)
	}
	return items, nil
}

// readNext makes fill read the earliest room again, with its data.
func (r *Reader) readNext() {
	room := heap.Pop(&r.ready).(*roomReader)
	room.rewind()
	room.isNext = true
	r.unread = append(r.unread, room)
}

// limit returns the limit of the next page of a room.
func (r *Reader) limit(room *roomReader) streams.ReadLimit {
	if room.isNext || r.bound-r.held >= r.share {
		return streams.ReadLimit{Events: pageEvents, Bytes: r.share}
	}
	return streams.ReadLimit{Events: r.bare, WithoutData: true}
}

// fill reads pages until every room has a pending item or has ended. Only then is the
// earliest item known.
func (r *Reader) fill(ctx context.Context) error {
	for len(r.unread) > 0 {
		room := r.unread[len(r.unread)-1]
		if err := room.read(ctx, r.log, &r.watermarks, r.limit(room)); err != nil {
			room.rewind() // the next try may have another limit
			return err
		}
		r.held += room.held()
		r.unread = r.unread[:len(r.unread)-1]
		if len(room.pending) > 0 {
			heap.Push(&r.ready, room)
		}
	}
	return nil
}

// pop removes and returns the earliest pending item.
func (r *Reader) pop() Item {
	room := r.ready[0]
	next := room.take()
	if !room.bare {
		r.held -= next.size()
	}
	switch {
	case len(room.pending) > 0:
		heap.Fix(&r.ready, 0)
	default:
		heap.Pop(&r.ready)
		if !room.ended {
			r.unread = append(r.unread, room)
		}
	}
	if next.event != nil || len(r.ready) == 0 || next.place.Before(r.ready[0].pending[0].order) {
		r.pos = next.place // this moves back a cursor that is ahead of the log
	}
	return Item{Event: next.event, Gap: next.gap, Place: next.place, Position: r.pos}
}

// mergeHeap orders rooms by their first pending entry.
type mergeHeap []*roomReader

func (h mergeHeap) Len() int { return len(h) }
func (h mergeHeap) Less(i, j int) bool {
	return h[i].pending[0].order.Before(h[j].pending[0].order)
}
func (h mergeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *mergeHeap) Push(r any)   { *h = append(*h, r.(*roomReader)) }
func (h *mergeHeap) Pop() any {
	last := len(*h) - 1
	r := (*h)[last]
	*h = (*h)[:last]
	return r
}
