package replay

import (
	"container/heap"
	"context"

	"github.com/tidemark/tidemark/streams"
)

// pageBudget bounds the events that a Reader holds, over all its rooms. Each room's page
// has between minPage and maxPage of them.
const (
	pageBudget = 4096
	minPage    = 16
	maxPage    = 128 // at 64 KiB per event, a slow reader holds 8 MiB
)

// A Source is the part of a streams.Log that a replay reads.
type Source interface {
	After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error)
	Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error)
}

// A Reader reads the rooms of one partition up to a barrier, which is the partition's last
// id when the watermarks were read. It merges the events by id. A gap notice comes before
// every event after the start of its gap.
//
// A Reader must be used by one goroutine at a time. After an error it may be used again
// and continues where it was.
type Reader struct {
	log        Source
	watermarks streams.Watermarks
	page       int
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
	r := &Reader{
		log:        log,
		watermarks: w,
		page:       min(max(pageBudget/max(len(starts), 1), minPage), maxPage),
	}
	for i, s := range starts {
		r.unread = append(r.unread, &roomReader{RoomStart: s, tail: w.Tails[i]})
	}
	if len(starts) > 0 {
		r.pos = InitialPosition(starts)
	}
	return r
}

// Barrier returns the position that the Reader reads up to. It is the client's cursor when
// the Reader is done.
func (r *Reader) Barrier() streams.ID { return r.watermarks.Last }

// Next returns the next items, at most max. It returns none when the Reader has reached its
// barrier. Errors are the log's; an error loses no item.
func (r *Reader) Next(ctx context.Context, max int) ([]Item, error) {
	var items []Item
	for len(items) < max {
		if err := r.fill(ctx); err != nil {
			if len(items) > 0 {
				return items, nil // the next call returns the error
			}
			return nil, err
		}
		if len(r.ready) == 0 {
			break
		}
		items = append(items, r.pop())
	}
	return items, nil
}

// fill reads pages until every room has a pending item or has ended. Only then is the
// earliest item known.
func (r *Reader) fill(ctx context.Context) error {
	for len(r.unread) > 0 {
		room := r.unread[len(r.unread)-1]
		if err := room.read(ctx, r.log, &r.watermarks, r.page); err != nil {
			return err
		}
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
	next := room.pending[0]
	room.pending = room.pending[1:]
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
