package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// MaxCursor bounds a cursor's text, in characters: one ULID and a dot for each
// of 128 partitions, eight times the default of a cluster.
const MaxCursor = 128 * (streams.IDLen + 1)

// ErrCursor reports text that is not a cursor.
var ErrCursor = errors.New("not a cursor")

// A Cursor is what a client hands back: a position in each partition that its
// connection was about, in partition order. The zero Cursor has none. A Cursor is
// immutable and safe for concurrent use.
type Cursor struct {
	ids []streams.ID // at most one of each partition, in partition order
}

// CursorAt returns the cursor of the given positions, at most one of each partition.
func CursorAt(ids ...streams.ID) Cursor {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, byPartition)
	return Cursor{ids}
}

// ParseCursor reads ULIDs joined by ".". The error is ErrCursor.
func ParseCursor(s string) (Cursor, error) {
	if len(s) > MaxCursor {
		return Cursor{}, fmt.Errorf("%w: %d characters, want at most %d", ErrCursor, len(s), MaxCursor)
	}
	parts := strings.Split(s, ".")
	ids := make([]streams.ID, len(parts))
	for i, part := range parts {
		id, err := streams.ParseID(part)
		if err != nil {
			return Cursor{}, fmt.Errorf("%w: %v", ErrCursor, err)
		}
		if i > 0 && id.Partition() <= ids[i-1].Partition() {
			return Cursor{}, fmt.Errorf("%w: its partitions do not rise", ErrCursor)
		}
		ids[i] = id
	}
	return Cursor{ids}, nil
}

// String returns the ULIDs joined by ".", which ParseCursor reads.
func (c Cursor) String() string {
	if len(c.ids) == 1 {
		return c.ids[0].String()
	}
	b := make([]byte, 0, len(c.ids)*(streams.IDLen+1))
	for i, id := range c.ids {
		if i > 0 {
			b = append(b, '.')
		}
		b, _ = id.AppendText(b) // never fails
	}
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Position returns the position in partition p. In a partition that the cursor
// does not speak of (a room was added since) it is the oldest moment that the
// cursor names, so that the added room starts where the others do, or earlier.
func (c Cursor) Position(p streams.Partition) streams.ID {
	if len(c.ids) == 0 {
		return streams.MakeID(0, 0, p)
	}
	oldest := c.ids[0].Millis()
	for _, id := range c.ids {
		if id.Partition() == p {
			return id
		}
		oldest = min(oldest, id.Millis())
	}
	return streams.MakeID(oldest, 0, p)
}

// IDs returns the positions, in partition order. Do not change them.
func (c Cursor) IDs() []streams.ID { return c.ids }

// With returns the cursor moved to id in the partition of id.
func (c Cursor) With(id streams.ID) Cursor {
	if len(c.ids) == 1 && c.ids[0].Partition() == id.Partition() {
		return Cursor{[]streams.ID{id}}
	}
	ids := slices.Clone(c.ids)
	i, found := slices.BinarySearchFunc(ids, id, byPartition)
	if found {
		ids[i] = id
	} else {
		ids = slices.Insert(ids, i, id)
	}
	return Cursor{ids}
}

// beyond reports whether the cursor speaks of a partition that a log of n does not have.
func (c Cursor) beyond(n int) bool {
	return len(c.ids) > 0 && int(c.ids[len(c.ids)-1].Partition()) >= n
}

func byPartition(a, b streams.ID) int { return int(a.Partition()) - int(b.Partition()) }
