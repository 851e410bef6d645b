package replay

import (
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A Start says where a follow begins. The zero Start is now.
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

// Earliest starts with the oldest event that the log keeps, and asks for no
// promise about the ones before.
func Earliest() Start { return Start{kind: fromEarliest} }

// After starts after a cursor. The zero ULID is the position before everything:
// the same as Earliest.
func After(c Cursor) Start { return Start{kind: fromCursor, cursor: c} }

// Since starts with the first event of the moment t or later.
func Since(t time.Time) Start { return Start{kind: fromTime, at: t} }

// Last starts with the newest n events of each room. Less than one means Now.
func Last(n int) Start {
	if n < 1 {
		return Now()
	}
	return Start{kind: fromLast, last: n}
}

// Unknown starts with everything that the log keeps, after a gap notice: what a
// cursor that can't be read deserves, for a browser would never come back from a
// refusal.
func Unknown() Start { return Start{kind: fromUnknown} }

// ParseSince reads "now", "earliest", a cursor, an RFC 3339 time, or a duration
// back from now such as "-15m". Whatever else is Unknown.
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

// ParseLastEventID reads what a client hands back: a cursor, or "earliest".
// Whatever else is Unknown.
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

// Position returns where in p the start is, for a log of n partitions; ok is
// false where that depends on what the log holds.
func (s Start) Position(p streams.Partition, n int) (id streams.ID, ok bool) {
	if s.kind != fromCursor || s.cursor.beyond(n) {
		return streams.ID{}, false
	}
	id = s.cursor.Position(p)
	return id, !id.IsZero()
}

// IsNow reports whether nothing older than the follow itself is asked for.
func (s Start) IsNow() bool { return s.kind == fromNow }

// String says where the start is, for logs.
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
