package replay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// MaxCursor bounds a cursor's text, in characters: a ULID and a dot for each of 128
// partitions. A cluster has 16 partitions by default.
const MaxCursor = 128 * (streams.IDLen + 1)

// ErrCursor reports text that is not a cursor.
var ErrCursor = errors.New("not a cursor")

// A Cursor is the position that a client hands back: one ULID for each partition that its
// connection followed. The zero Cursor has no position. A Cursor is immutable and safe for
// concurrent use.
type Cursor struct {
	ids []streams.ID // at most one per partition, in partition order
}

// CursorAt returns the cursor with the given positions, at most one per partition.
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
			return Cursor{}, fmt.Errorf("%w: the ULIDs are not in partition order", ErrCursor)
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
		b, _ = id.AppendText(b) // the error is always nil
	}
	return string(b)
}

// MarshalText implements encoding.TextMarshaler.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// Position returns the position in partition p. If the cursor has none, because the client
// added a room of p since, Position returns the time of the cursor's oldest position. So the
// added room starts where the other rooms do, or earlier.
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

// With returns the cursor with id as its position in the partition of id.
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

// beyond reports whether the cursor has a position in a partition that a log of n
// partitions does not have.
func (c Cursor) beyond(n int) bool {
	return len(c.ids) > 0 && int(c.ids[len(c.ids)-1].Partition()) >= n
}

func byPartition(a, b streams.ID) int { return int(a.Partition()) - int(b.Partition()) }
