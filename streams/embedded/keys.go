package embedded

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// The keys of the store. A room's name never contains a zero byte, so the keys of one room
// are contiguous.
//
//	m name                          metadata of the log
//	e room 0 id                     an event
//	r room                          the room's record
//	k room 0 key                    an idempotency record
//	x milliseconds 'r' room         time of the next sweep of a room's record
//	x milliseconds 'k' room 0 key   time at which an idempotency record expires
//
// Milliseconds count from the Unix epoch and have 8 bytes, big-endian.
const (
	kindMeta   = 'm'
	kindEvent  = 'e'
	kindRoom   = 'r'
	kindKey    = 'k'
	kindExpiry = 'x'
)

const idBytes = len(streams.ID{})

func eventKey(room streams.Room, id streams.ID) []byte {
	b := make([]byte, eventKeyBytes(room), eventKeyBytes(room)+1) // room for the byte that justAfter appends
	putEventKey(b, room, id)
	return b
}

func eventKeyBytes(room streams.Room) int { return 1 + len(room) + 1 + idBytes }

// putEventKey fills b, which must have eventKeyBytes bytes.
func putEventKey(b []byte, room streams.Room, id streams.ID) {
	b[0] = kindEvent
	n := 1 + copy(b[1:], room)
	b[n] = 0
	copy(b[n+1:], id[:])
}

// justAfter returns the first key after the event at id. It works for the highest id too.
func justAfter(room streams.Room, id streams.ID) []byte { return append(eventKey(room, id), 0) }

// eventID returns the id at the end of an event's key.
func eventID(key []byte) (streams.ID, error) {
	if len(key) < idBytes {
		return streams.ID{}, fmt.Errorf("%w: event key of %d bytes", errCorrupt, len(key))
	}
	return streams.ID(key[len(key)-idBytes:]), nil
}

func roomKey(room streams.Room) []byte {
	return append(append(make([]byte, 0, 1+len(room)), kindRoom), room...)
}

func idempotencyKey(room streams.Room, key string) []byte {
	b := make([]byte, 0, 1+len(room)+1+len(key))
	b = append(b, kindKey)
	b = append(b, room...)
	b = append(b, 0)
	return append(b, key...)
}

// expiryKey returns the key under which the sweep finds record at time ms. record is the
// key of a room or idempotency record.
func expiryKey(ms int64, record []byte) []byte {
	b := make([]byte, 0, 1+8+len(record))
	b = append(b, kindExpiry)
	b = binary.BigEndian.AppendUint64(b, uint64(ms))
	return append(b, record...)
}

// parseExpiryKey is the inverse of expiryKey. The returned record shares b's memory.
func parseExpiryKey(b []byte) (ms int64, record []byte, err error) {
	if len(b) < 1+8+1 {
		return 0, nil, fmt.Errorf("%w: expiry key of %d bytes", errCorrupt, len(b))
	}
	return int64(binary.BigEndian.Uint64(b[1:])), b[1+8:], nil
}
