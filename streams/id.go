package streams

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// IDLen is the length of an ID's text.
const IDLen = ulid.EncodedSize

// maxMillis is the largest time that 48 bits hold: the year 10889.
const maxMillis = 1<<48 - 1

// ErrID reports text that is not an ID.
var ErrID = errors.New("not a ULID")

// Partition is the unit of total order. A room belongs to one partition. Ids rise strictly
// over all rooms of a partition.
type Partition uint16

// ID is the position of an event in the log, as a ULID of milliseconds, sequence and
// partition. The most significant byte comes first, so the order of bytes is the order of the
// log within a partition. The zero ID is before every event. IDs can be compared with == and
// used as map keys.
type ID ulid.ULID

// MakeID returns the ID of the entry ms-seq in partition p. It uses the low 48 bits of ms.
func MakeID(ms, seq uint64, p Partition) ID {
	var id ID
	ms &= maxMillis
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	binary.BigEndian.PutUint64(id[6:], seq)
	binary.BigEndian.PutUint16(id[14:], uint16(p))
	return id
}

// IDAt returns the position in p before the first event at time t or later. A time that an
// ID cannot hold becomes the nearest one that it can.
func IDAt(t time.Time, p Partition) ID {
	ms := t.UnixMilli()
	if ms <= 0 {
		return MakeID(0, 0, p)
	}
	if ms > maxMillis {
		ms = maxMillis
	}
	return MakeID(uint64(ms), 0, p)
}

// ParseID reads the 26 characters of a ULID (Crockford's base 32, either case).
// The error is ErrID.
func ParseID(s string) (ID, error) {
	if len(s) != IDLen {
		return ID{}, fmt.Errorf("%w: %d characters, want %d", ErrID, len(s), IDLen)
	}
	u, err := ulid.ParseStrict(s)
	if err != nil {
		return ID{}, fmt.Errorf("%w: %v", ErrID, err)
	}
	return ID(u), nil
}

// String returns the 26 characters of the ULID.
func (id ID) String() string { return ulid.ULID(id).String() }

// AppendText appends the 26 characters of the ULID to b. The error is always nil.
func (id ID) AppendText(b []byte) ([]byte, error) {
	n := len(b)
	b = append(b, "00000000000000000000000000"...)
	return b, ulid.ULID(id).MarshalTextTo(b[n:])
}

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText implements encoding.TextUnmarshaler by ParseID.
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(string(b))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// Millis returns the milliseconds since the Unix epoch.
func (id ID) Millis() uint64 {
	return uint64(binary.BigEndian.Uint16(id[0:]))<<32 | uint64(binary.BigEndian.Uint32(id[2:]))
}

// Seq returns the sequence within the millisecond.
func (id ID) Seq() uint64 { return binary.BigEndian.Uint64(id[6:]) }

// Partition returns the id's partition.
func (id ID) Partition() Partition { return Partition(binary.BigEndian.Uint16(id[14:])) }

// Time returns the id's time in UTC, to the millisecond.
func (id ID) Time() time.Time { return time.UnixMilli(int64(id.Millis())).UTC() }

// Compare orders ids as the log does. Both must be of one partition.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// Before reports whether id is before other in the log.
func (id ID) Before(other ID) bool { return id.Compare(other) < 0 }

// IsZero reports whether milliseconds and sequence are zero: the position before every event
// of the partition.
func (id ID) IsZero() bool { return id.Millis() == 0 && id.Seq() == 0 }

// Next returns the first position after id in its partition.
func (id ID) Next() ID {
	if id.Seq() == 1<<64-1 {
		return MakeID(id.Millis()+1, 0, id.Partition())
	}
	return MakeID(id.Millis(), id.Seq()+1, id.Partition())
}

// Later returns the later of two positions of one partition.
func Later(a, b ID) ID {
	if a.Before(b) {
		return b
	}
	return a
}
