package service

import (
	"sort"

	"github.com/tidemark/tidemark/streams"
)

// A hotTail keeps a room's newest events in memory, oldest first. It holds every logged
// event after start, up to the room's position. Slices of events are shared with readers:
// the tail appends at the end and cuts at the front, and never changes an element.
type hotTail struct {
	memory *memory // of the node
	start  streams.ID
	events []*streams.Event
	bytes  int // data of events
	size   int // about how much memory they take
	cut    int // size of the events that were dropped and are still in the array of events
}

// restart empties the tail. From then on it holds the events after start.
func (t *hotTail) restart(start streams.ID) {
	t.memory.hot.Add(-int64(t.size))
	*t = hotTail{memory: t.memory, start: start}
}

// add appends e and drops the oldest events above max events, hotBytes, or the room's share
// of the memory for hot tails.
func (t *hotTail) add(e *streams.Event, max int) {
	if n := len(t.events); n == cap(t.events) {
		t.compact(n/8 + 8)
	}
	t.events = append(t.events, e)
	t.grow(e, 1)
	t.trim(max)
}

// compact moves the events to a new array with space for more of them. The old array keeps
// the dropped events in memory. With append, it would grow to hold half as many dropped
// events as the tail has. Over all rooms of a node these are hundreds of megabytes.
func (t *hotTail) compact(more int) {
	t.events = append(make([]*streams.Event, 0, len(t.events)+more), t.events...)
	t.cut = 0
}

// trim drops the oldest events above max events, hotBytes, or the room's share.
func (t *hotTail) trim(max int) {
	for len(t.events) > 0 && (len(t.events) > max || t.bytes > hotBytes || t.size > t.memory.hotShare()) {
		t.start = t.events[0].ID
		t.grow(t.events[0], -1)
		t.cut += hotSize(t.events[0])
		t.events = t.events[1:]
	}
	if t.cut > t.size/4 {
		t.compact(len(t.events) / 8)
	}
}

// grow counts an event that was added (1) or removed (-1).
func (t *hotTail) grow(e *streams.Event, sign int) {
	t.bytes += sign * len(e.Data)
	t.size += sign * hotSize(e)
	t.memory.hot.Add(int64(sign * hotSize(e)))
}

// after returns the events after pos, which must not be before start.
func (t *hotTail) after(pos streams.ID) []*streams.Event {
	i := sort.Search(len(t.events), func(i int) bool { return pos.Before(t.events[i].ID) })
	return t.events[i:]
}

// prepend puts events in front of the tail. older must end at or before start, with no
// event between. prepend takes the part of it that is an unbroken chain after floor and
// that fits into hotBytes and into the memory for hot tails.
func (t *hotTail) prepend(older []*streams.Event, floor streams.ID) {
	bytes, size, start := t.bytes, 0, t.start
	from := len(older)
	for i := len(older) - 1; i >= 0; i-- {
		e := older[i]
		if from < len(older) && older[from].Prev != e.ID || !floor.Before(e.ID) ||
			bytes+len(e.Data) > hotBytes || !t.memory.fits(size+hotSize(e)) {
			break
		}
		bytes += len(e.Data)
		size += hotSize(e)
		from, start = i, streams.Later(e.Prev, floor)
	}
	if from == len(older) {
		return
	}
	joined := make([]*streams.Event, 0, len(older)-from+len(t.events))
	joined = append(append(joined, older[from:]...), t.events...)
	t.memory.hot.Add(int64(size))
	*t = hotTail{memory: t.memory, start: start, events: joined, bytes: bytes, size: t.size + size}
}

// newest returns the id of the newest event, or zero if the tail is empty.
func (t *hotTail) newest() streams.ID {
	if len(t.events) == 0 {
		return streams.ID{}
	}
	return t.events[len(t.events)-1].ID
}
