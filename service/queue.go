package service

import "github.com/tidemark/tidemark/replay"

// A queue holds the items that wait for one connection. It swaps two slices, so that a
// batch stays valid until the next one is taken. It is guarded by its subscription's mu.
type queue struct {
	items []replay.Item
	spare []replay.Item // the batch taken before; used again
	bytes int           // data of items

	// items and spare start in small, so that a connection that takes one event at a
	// time allocates nothing.
	small [2][1]replay.Item
}

// add appends it.
func (q *queue) add(it replay.Item) {
	if it.Event != nil {
		q.bytes += len(it.Event.Data)
	}
	q.items = append(q.items, it)
}

// full reports whether the queue exceeds max items or queueBytes.
func (q *queue) full(max int) bool { return len(q.items) > max || q.bytes > queueBytes }

// take removes and returns all items. They are valid until the next call of take or shrink.
func (q *queue) take() []replay.Item {
	items := q.items
	clear(q.spare)
	q.items, q.spare, q.bytes = q.spare[:0], items, 0
	return items
}

// shrink frees the memory that an idle connection does not need. The queue must be empty.
func (q *queue) shrink() {
	q.small = [2][1]replay.Item{}
	q.items, q.spare = q.small[0][:0], q.small[1][:0]
}
