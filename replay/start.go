package replay

import (
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A Start says where a follow begins. The zero Start is Now.
type Start struct {
	kind   startKind
	cursor Cursor
	at     time.Time
	last   int
}

type startKind int

const (
	fromNow startKind = iota
	fromEarliest
	fromCursor
	fromTime
	fromLast
	fromUnknown
)

// Now starts after the newest event.
func Now() Start { return Start{} }

// Earliest starts with the oldest event that the log keeps. It gives no gap notice for
// events before that one.
func Earliest() Start { return Start{kind: fromEarliest} }

// After starts after a cursor. A cursor of the zero ULID is the same as Earliest.
func After(c Cursor) Start { return Start{kind: fromCursor, cursor: c} }

// Since starts with the first event at time t or later.
func Since(t time.Time) Start { return Start{kind: fromTime, at: t} }

// Last starts with the newest n events of each room, as far as they fit into LastBytes. If n
// is less than 1, it is Now.
func Last(n int) Start {
	if n < 1 {
		return Now()
	}
	return Start{kind: fromLast, last: n}
}

// Unknown starts with a gap notice, and then with the oldest event that the log keeps. It
// is the start of a client whose cursor cannot be read. An error would not do, because a
// browser does not reconnect after one.
func Unknown() Start { return Start{kind: fromUnknown} }

// ParseSince reads "now", "earliest", a cursor, an RFC 3339 time, or a negative duration
// before now such as "-15m". For any other text it returns Unknown.
func ParseSince(s string, now time.Time) Start {
	switch s {
	case "now":
		return Now()
	case "earliest":
		return Earliest()
	}
	if c, err := ParseCursor(s); err == nil {
		return After(c)
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return Since(t)
	}
	if d, err := time.ParseDuration(s); err == nil && d <= 0 {
		return Since(now.Add(d))
	}
	return Unknown()
}

// ParseLastEventID reads a Last-Event-ID header: a cursor, or "earliest". For any other
// text it returns Unknown.
func ParseLastEventID(s string) Start {
	if s == "earliest" {
		return Earliest()
	}
	c, err := ParseCursor(s)
	if err != nil {
		return Unknown()
	}
	return After(c)
}

// Position returns the start's position in partition p of a log of n partitions. ok is false
// if the position depends on the contents of the log.
func (s Start) Position(p streams.Partition, n int) (id streams.ID, ok bool) {
	if s.kind != fromCursor || s.cursor.beyond(n) {
		return streams.ID{}, false
	}
	id = s.cursor.Position(p)
	return id, !id.IsZero()
}

// IsNow reports whether the start is Now.
func (s Start) IsNow() bool { return s.kind == fromNow }

// String describes the start, for logs.
func (s Start) String() string {
	switch s.kind {
	case fromEarliest:
		return "earliest"
	case fromCursor:
		return "after " + s.cursor.String()
	case fromTime:
		return "since " + s.at.Format(time.RFC3339Nano)
	case fromLast:
		return fmt.Sprintf("last %d", s.last)
	case fromUnknown:
		return "unknown"
	}
	return "now"
}
