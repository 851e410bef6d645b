package streams

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

const (
	// DefaultMaxData bounds an event's data, in bytes of compact JSON.
	DefaultMaxData = 64 << 10
	// maxDepth bounds the nesting of arrays and objects in an event's data, so that a
	// client with a recursive parser can read every event.
	maxDepth = 64
)

// Errors of ParseData.
var (
	ErrData    = errors.New("not JSON")
	ErrTooBig  = errors.New("event data too large")
	ErrTooDeep = errors.New("event data nested too deep")
)

// An Event is one entry of the log. Every connection shares it, so it must not be changed.
// Use it by pointer.
type Event struct {
	ID   ID
	Prev ID // no event of Room lies between Prev and ID
	Room Room
	Type string
	Data []byte // compact JSON, valid UTF-8, no line break

	// Ephemeral says that the event was never logged. It has a position in the order, but
	// its Prev is zero, and it cannot be read from the log.
	Ephemeral bool

	// Trace is the draft's trace, if the event arrived live. The log does not keep it.
	Trace Trace

	encoded [encodings]atomic.Pointer[[]byte]
}

// Encoding names one wire form of an event.
type Encoding int

// The wire forms. Each is made once per event and shared by all connections.
const (
	SSERoom   Encoding = iota // a block for a stream of one room
	SSERooms                  // a block for a stream of several rooms
	SSEBody                   // SSERooms without the id line, for cursors over several partitions
	WebSocket                 // the JSON of a text frame
	encodings = iota
)

// Encoded returns the event in form k. The first call makes it with encode. Concurrent first
// calls may run encode more than once, but all return the same bytes. The bytes are shared:
// do not change them.
func (e *Event) Encoded(k Encoding, encode func(*Event) []byte) []byte {
	if b := e.encoded[k].Load(); b != nil {
		return *b
	}
	b := encode(e)
	e.encoded[k].CompareAndSwap(nil, &b)
	return *e.encoded[k].Load()
}

// A Draft is an event that the log has not stored yet.
type Draft struct {
	Room Room
	Type string
	Data []byte // from ParseData; do not change it afterwards: the event shares it

	// Key, if set, is the idempotency key. While the log keeps its record, it stores a draft
	// of this room and key only once.
	Key string

	Retention Retention

	// ExistingRoom makes the log refuse the draft with ErrNewRoom if the room has no tail
	// record: the room never had an event, or its record has expired. It does not apply to
	// an ephemeral room, because a log keeps nothing of it.
	ExistingRoom bool

	// Durability says how safe the event must be when Append returns. It does not apply to
	// an ephemeral room.
	Durability Durability

	Trace Trace // of the publish; "" if the publish is not traced
}

// Fingerprint returns a hash of type and data. The log compares it to find out whether two
// drafts with the same key have the same content.
func (d *Draft) Fingerprint() [16]byte {
	h := sha256.New()
	h.Write([]byte(d.Type))
	h.Write([]byte{0})
	h.Write(d.Data)
	return [16]byte(h.Sum(nil))
}

// Retention says how much of a room the log keeps.
type Retention struct {
	// Events is the number of newest events to keep. The log may keep up to ExtraKept more,
	// and never fewer. 0 makes the room ephemeral: its events are live only, never logged.
	Events int

	// Age is how long to keep an event, at least a millisecond. The log may keep an event
	// longer while the room's newest event is younger than Age.
	Age time.Duration
}

// ExtraKept bounds the events that a log may keep beyond Retention.Events. Redis trims a
// stream by whole nodes, which have 100 entries by default.
const ExtraKept = 100

// A Receipt is the result of appending one draft.
type Receipt struct {
	ID         ID         // set without an error, and with ErrNotDurable
	Replayed   bool       // the key was used before; ID is the id of the event stored then
	Durability Durability // reached; zero for an ephemeral event, and with an error
	NewRoom    bool       // the event was stored in a room that had no tail record
	Err        error      // nil, or one of the errors that Log.Append names
}

// spareBytes and a quarter of the data is the most memory that ParseData keeps besides the
// data itself.
const spareBytes = 64

// ParseData returns one JSON value in compact form. data must be UTF-8, and its compact form
// at most max bytes. The result shares no memory with data, and does not keep the memory of
// white space. The errors are ErrData, ErrTooBig and ErrTooDeep.
func ParseData(data []byte, max int) ([]byte, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrData)
	}
	if d := depth(data); d > maxDepth {
		return nil, fmt.Errorf("%w: %d levels, want at most %d", ErrTooDeep, d, maxDepth)
	}
	var compact bytes.Buffer
	compact.Grow(len(data))
	if err := json.Compact(&compact, data); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrData, err)
	}
	if compact.Len() > max {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrTooBig, compact.Len(), max)
	}
	if compact.Available() > spareBytes+compact.Len()/4 {
		return bytes.Clone(compact.Bytes()), nil
	}
	return compact.Bytes(), nil
}

// depth returns the nesting depth of the brackets outside strings.
func depth(data []byte) int {
	var now, most int
	quoted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			now++
			most = max(most, now)
		case c == ']' || c == '}':
			now--
		}
	}
	return most
}
