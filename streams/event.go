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
	// maxDepth bounds how deep arrays and objects nest in an event's data, so
	// that a client with a recursive parser survives every event.
	maxDepth = 64
)

// Errors of ParseData.
var (
	ErrData    = errors.New("not JSON")
	ErrTooBig  = errors.New("event data too large")
	ErrTooDeep = errors.New("event data nested too deep")
)

// An Event is one entry of the log. It is shared by all who deliver it and must
// not be changed. Use it by pointer.
type Event struct {
	ID   ID
	Prev ID // no event of Room lies between Prev and ID
	Room Room
	Type string
	Data []byte // compact JSON, valid UTF-8, no line break

	// Ephemeral says that the event was never logged: it has a place in the
	// order, but Prev is zero and nobody can read it again.
	Ephemeral bool

	// Trace is its draft's, where the event came live. It is on its way with the event,
	// and not kept: one that was read from the log has none.
	Trace Trace

	encoded [encodings]atomic.Pointer[[]byte]
}

// Encoding names one wire form of an event.
type Encoding int

// The wire forms that are made once per event and shared by all connections.
const (
	SSERoom   Encoding = iota // a whole block for a follower of one room
	SSERooms                  // a whole block for a follower of several rooms
	SSEBody                   // the same without its id line: cursors over several partitions
	WebSocket                 // the JSON of a text frame
	encodings = iota
)

// Encoded returns the event in form k, made by encode on first use. It may be
// called concurrently; encode may then run more than once, and one result stays.
// The bytes are shared: do not change them.
func (e *Event) Encoded(k Encoding, encode func(*Event) []byte) []byte {
	if b := e.encoded[k].Load(); b != nil {
		return *b
	}
	b := encode(e)
	e.encoded[k].CompareAndSwap(nil, &b)
	return *e.encoded[k].Load()
}

// A Draft is an event that has no place in the log yet.
type Draft struct {
	Room Room
	Type string
	Data []byte // from ParseData; the log shares it with the event, so do not change it

	// Key, if set, makes repeating the draft safe: for as long as the log keeps
	// its record, a draft of the same room and key is stored once.
	Key string

	Retention Retention

	// Durability is how safe the event is to be when the append is answered. What
	// is ephemeral has none.
	Durability Durability

	Trace Trace // of the publish; "" if it is not traced
}

// Fingerprint tells two drafts with the same key apart when their content differs.
func (d *Draft) Fingerprint() [16]byte {
	h := sha256.New()
	h.Write([]byte(d.Type))
	h.Write([]byte{0})
	h.Write(d.Data)
	return [16]byte(h.Sum(nil))
}

// Retention says how much of a room the log keeps.
type Retention struct {
	// Events is how many of the newest are kept. The log may keep a few more (at
	// most ExtraKept), never fewer. 0 makes the room ephemeral: live only, never logged.
	Events int

	// Age is how long an event is kept. The log may keep it longer while the
	// room's newest event is younger. At least a millisecond.
	Age time.Duration
}

// ExtraKept bounds how many events above Retention.Events a log may keep: Redis
// trims whole nodes of a stream, by default of 100 entries.
const ExtraKept = 100

// A Receipt is the outcome of one draft.
type Receipt struct {
	ID         ID         // also with ErrNotDurable
	Replayed   bool       // the key was known: ID is that of the first time
	Durability Durability // reached; zero for what is ephemeral, and with an error
	Err        error      // nil, or one of the errors that Log.Append names
}

// ParseData returns data, which must be one JSON value in UTF-8, in compact form
// of at most max bytes. The errors are ErrData, ErrTooBig and ErrTooDeep.
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
	return compact.Bytes(), nil
}

// depth returns how deep the brackets outside strings nest.
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
