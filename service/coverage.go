package service

import "github.com/tidemark/tidemark/streams"

// A coverage records which events a connection certainly has, even if the pump repairs
// events before them later. These are the events up to the client's cursor, and the events
// read from the log since. Live events do not count: only the pump can prove these.
type coverage struct {
	through  streams.ID // every event at or before it
	from, to streams.ID // and every event with from < id <= to, the last part read
}

func (c *coverage) includes(id streams.ID) bool {
	return !c.through.Before(id) || c.from.Before(id) && !c.to.Before(id)
}

// extend adds the events with from < id <= to.
func (c *coverage) extend(from, to streams.ID) {
	switch {
	case !c.through.Before(from):
		c.through = streams.Later(c.through, to)
	case c.to == from:
		c.to = to
	default:
		c.from, c.to = from, to
	}
}
