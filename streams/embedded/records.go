package embedded

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// errCorrupt reports a key or value that this program cannot have written.
var errCorrupt = errors.New("corrupt value in the log")

// A roomRecord is the state of a room. It outlives the room's events as its tail record.
type roomRecord struct {
	last streams.ID // the newest event

	// before is the value of last before the write that changed it. A reader that sees
	// a record whose newest event is not on the disk yet uses before instead.
	before streams.ID

	trimmed streams.ID // events at or before it were removed; at first the room's base
	count   uint64     // stored events

	// Milliseconds since the Unix epoch, by the log's clock.
	expires int64 // the events expire
	indexed int64 // the sweep visits this record
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

// expired reports whether the room's events have expired. They may not be removed yet.
func (r *roomRecord) expired(now time.Time) bool { return r.expires <= now.UnixMilli() }

// tail returns the newest event at or before the durable position.
func (r *roomRecord) tail(durable streams.ID) streams.ID {
	if durable.Before(r.last) {
		return r.before
	}
	return r.last
}

// A keyRecord is the record of an idempotency key.
type keyRecord struct {
	id          streams.ID
	fingerprint [16]byte // of the draft
	expires     int64    // milliseconds since the Unix epoch
}

const keyRecordBytes = idBytes + 16 + 8

func (r *keyRecord) encode(b []byte) {
	copy(b[0:], r.id[:])
	copy(b[16:], r.fingerprint[:])
	binary.BigEndian.PutUint64(b[32:], uint64(r.expires))
}

func decodeKeyRecord(b []byte) (keyRecord, error) {
	if len(b) != keyRecordBytes {
		return keyRecord{}, fmt.Errorf("%w: idempotency record of %d bytes", errCorrupt, len(b))
	}
	return keyRecord{
		id:          streams.ID(b[0:16]),
		fingerprint: [16]byte(b[16:32]),
		expires:     int64(binary.BigEndian.Uint64(b[32:])),
	}, nil
}

// An event's value is its Prev, the length of its type in one byte, the type, and the data.
// Room and id are in the key.
const eventHead = idBytes + 1

func eventBytes(e *streams.Event) int { return eventHead + len(e.Type) + len(e.Data) }

func encodeEvent(b []byte, e *streams.Event) {
	copy(b, e.Prev[:])
	b[idBytes] = byte(len(e.Type))
	n := copy(b[eventHead:], e.Type)
	copy(b[eventHead+n:], e.Data)
}

// decodeEvent decodes the value b of the event of room at id. It returns the event without
// its data, and the data apart, so that only a reader that needs the data copies it. The
// event does not share b's memory; data does.
func decodeEvent(room streams.Room, id streams.ID, b []byte) (e *streams.Event, data []byte, err error) {
	if len(b) < eventHead || len(b) < eventHead+int(b[idBytes]) {
		return nil, nil, fmt.Errorf("%w: event %s of %d bytes", errCorrupt, id, len(b))
	}
	body := b[eventHead:]
	n := int(b[idBytes])
	return &streams.Event{ID: id, Prev: streams.ID(b[:idBytes]), Room: room, Type: string(body[:n])}, body[n:], nil
}

func decodeID(b []byte) (streams.ID, error) {
	if len(b) != idBytes {
		return streams.ID{}, fmt.Errorf("%w: id of %d bytes", errCorrupt, len(b))
	}
	return streams.ID(b), nil
}
