package embedded

import (
	"encoding/binary"
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// The keys of the store. A room's name has no zero byte, so that no room's keys
// lie among another's.
//
//	m name                          what the log knows of itself
//	e room 0 id                     an event
//	r room                          the room's record
//	k room 0 key                    an idempotency record
//	x milliseconds 'r' room         when to look at a room's record again
//	x milliseconds 'k' room 0 key   when an idempotency record expires
const (
	kindMeta   = 'm'
	kindEvent  = 'e'
	kindRoom   = 'r'
	kindKey    = 'k'
	kindExpiry = 'x'
)

const idBytes = len(streams.ID{})

func eventKey(room streams.Room, id streams.ID) []byte {
	b := make([]byte, eventKeyBytes(room), eventKeyBytes(room)+1) // one more, for justAfter
	putEventKey(b, room, id)
	return b
}

func eventKeyBytes(room streams.Room) int { return 1 + len(room) + 1 + idBytes }

// putEventKey fills b, which has eventKeyBytes.
func putEventKey(b []byte, room streams.Room, id streams.ID) {
	b[0] = kindEvent
	n := 1 + copy(b[1:], room)
	b[n] = 0
	copy(b[n+1:], id[:])
}

// justAfter is the first key after the event at id. There may be no next id.
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

// expiryKey is where the sweep finds record, the key of a room or idempotency
// record, once ms has come.
func expiryKey(ms int64, record []byte) []byte {
	b := make([]byte, 0, 1+8+len(record))
	b = append(b, kindExpiry)
	b = binary.BigEndian.AppendUint64(b, uint64(ms))
	return append(b, record...)
}

// parseExpiryKey is the reverse of expiryKey. The record's key shares b's memory.
func parseExpiryKey(b []byte) (ms int64, record []byte, err error) {
	if len(b) < 1+8+1 {
		return 0, nil, fmt.Errorf("%w: expiry key of %d bytes", errCorrupt, len(b))
	}
	return int64(binary.BigEndian.Uint64(b[1:])), b[1+8:], nil
}
