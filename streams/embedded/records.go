package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// errCorrupt reports a value that this program did not write.
var errCorrupt = errors.New("corrupt value in the log")

// A roomRecord is all that is kept of a room beside its events. It outlives them
// as the tail record.
type roomRecord struct {
	last streams.ID // the newest event

	// before is last as it was before the write that last changed it. A reader
	// may see a record whose event is not on the disk yet: then this one holds.
	before streams.ID

	trimmed streams.ID // events at or before it are gone; zero if none is
	count   uint64     // events kept

	// In milliseconds since the epoch, by the clock of the log.
	expires int64 // the events are gone from here on
	indexed int64 // when the sweep looks at this record
}

const roomRecordBytes = 3*idBytes + 3*8

func (r *roomRecord) encode(b []byte) {
	copy(b[0:], r.last[:])
	copy(b[16:], r.before[:])
	copy(b[32:], r.trimmed[:])
	binary.BigEndian.PutUint64(b[48:], r.count)
	binary.BigEndian.PutUint64(b[56:], uint64(r.expires))
	binary.BigEndian.PutUint64(b[64:], uint64(r.indexed))
}

func decodeRoomRecord(b []byte) (roomRecord, error) {
	if len(b) != roomRecordBytes {
		return roomRecord{}, fmt.Errorf("%w: room record of %d bytes", errCorrupt, len(b))
	}
	return roomRecord{
		last:    streams.ID(b[0:16]),
		before:  streams.ID(b[16:32]),
		trimmed: streams.ID(b[32:48]),
		count:   binary.BigEndian.Uint64(b[48:]),
		expires: int64(binary.BigEndian.Uint64(b[56:])),
		indexed: int64(binary.BigEndian.Uint64(b[64:])),
	}, nil
}

// expired reports whether the room's events are gone at now, removed or not.
func (r *roomRecord) expired(now time.Time) bool { return r.expires <= now.UnixMilli() }

// tail is the newest event at or before the durable position.
func (r *roomRecord) tail(durable streams.ID) streams.ID {
	if durable.Before(r.last) {
		return r.before
	}
	return r.last
}

// A keyRecord remembers an idempotency key.
type keyRecord struct {
	id      streams.ID
	print   [16]byte
	expires int64 // milliseconds since the epoch
}

const keyRecordBytes = idBytes + 16 + 8

func (r *keyRecord) encode(b []byte) {
	copy(b[0:], r.id[:])
	copy(b[16:], r.print[:])
	binary.BigEndian.PutUint64(b[32:], uint64(r.expires))
}

func decodeKeyRecord(b []byte) (keyRecord, error) {
	if len(b) != keyRecordBytes {
		return keyRecord{}, fmt.Errorf("%w: idempotency record of %d bytes", errCorrupt, len(b))
	}
	return keyRecord{
		id:      streams.ID(b[0:16]),
		print:   [16]byte(b[16:32]),
		expires: int64(binary.BigEndian.Uint64(b[32:])),
	}, nil
}

// An event's value is its Prev, the length of its type in one byte, the type,
// and the data to the end. Room and id are in the key.
const eventHead = idBytes + 1

func eventBytes(e *streams.Event) int { return eventHead + len(e.Type) + len(e.Data) }

func encodeEvent(b []byte, e *streams.Event) {
	copy(b, e.Prev[:])
	b[idBytes] = byte(len(e.Type))
	n := copy(b[eventHead:], e.Type)
	copy(b[eventHead+n:], e.Data)
}

// decodeEvent returns the event of room at id whose value is b, which stays the
// caller's.
func decodeEvent(room streams.Room, id streams.ID, b []byte) (*streams.Event, error) {
	if len(b) < eventHead || len(b) < eventHead+int(b[idBytes]) {
		return nil, fmt.Errorf("%w: event %s of %d bytes", errCorrupt, id, len(b))
	}
	body := b[eventHead:]
	n := int(b[idBytes])
	return &streams.Event{
		ID:   id,
		Prev: streams.ID(b[:idBytes]),
		Room: room,
		Type: string(body[:n]),
		Data: slices.Clone(body[n:]),
	}, nil
}

func decodeID(b []byte) (streams.ID, error) {
	if len(b) != idBytes {
		return streams.ID{}, fmt.Errorf("%w: id of %d bytes", errCorrupt, len(b))
	}
	return streams.ID(b), nil
}
