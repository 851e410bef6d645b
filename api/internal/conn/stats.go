package conn

import "github.com/tidemark/tidemark/streams"

// WriteStats describe what one write to a client carries.
type WriteStats struct {
	events int

	// since is the time at which the oldest live event was logged, by the log's clock, in
	// milliseconds since 1970; 0 without live events.
	since uint64
}

// Add counts an event. live is false for a replayed one: its age says nothing about this
// node.
func (s *WriteStats) Add(e *streams.Event, live bool) {
	s.events++
	if !live {
		return
	}
	if ms := e.ID.Millis(); s.since == 0 || ms < s.since {
		s.since = ms
	}
}

// counters hold what a worker has written since it last handed them to Deliveries.
// Counting a write reads no clock and touches nothing that workers share.
type counters struct {
	written [Protocols]int // events
	failed  [Protocols]int // events in writes that failed
	writes  [chainLength]struct {
		protocol Protocol
		since    uint64 // as in WriteStats
	}
	n int // of writes
}

// write counts a write that succeeded. At most chainLength calls may come between two
// calls of Deliveries.take.
func (c *counters) write(p Protocol, s WriteStats) {
	c.written[p] += s.events
	if s.since != 0 {
		c.writes[c.n].protocol, c.writes[c.n].since = p, s.since
		c.n++
	}
}

// fail counts a write that failed. Its client gets these events from the log when it
// resumes.
func (c *counters) fail(p Protocol, s WriteStats) { c.failed[p] += s.events }
