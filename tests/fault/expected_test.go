package fault_test

import (
	"bytes"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A mark identifies an event of a room: its publisher and the publisher's sequence number.
// The event's data begin with it, as in "17.42.xxxx".
type mark uint64

func makeMark(publisher, number int) mark { return mark(publisher)<<40 | mark(number) }

func (m mark) publisher() int { return int(m >> 40) }
func (m mark) number() int    { return int(m & (1<<40 - 1)) }

func (m mark) String() string { return itoa(m.publisher()) + "." + itoa(m.number()) }

// appendData appends the data of an event: the mark and padding bytes.
func (m mark) appendData(b []byte, padding int) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(m.publisher()), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(m.number()), 10)
	b = append(b, '.')
	b = append(b, bytes.Repeat([]byte{'x'}, padding)...)
	return append(b, '"')
}

// parseMark parses the mark at the beginning of an event's data.
func parseMark(data []byte) (m mark, ok bool) {
	if len(data) == 0 || data[0] != '"' {
		return 0, false
	}
	publisher, rest, ok := digits(data[1:])
	if !ok {
		return 0, false
	}
	number, _, ok := digits(rest)
	return makeMark(publisher, number), ok
}

// digits parses a number up to its dot.
func digits(b []byte) (n int, rest []byte, ok bool) {
	for i, c := range b {
		switch {
		case c == '.':
			return n, b[i+1:], i > 0
		case c < '0' || c > '9':
			return 0, nil, false
		}
		n = 10*n + int(c-'0')
	}
	return 0, nil, false
}

// A room holds what all publishers know about one room: the expected events.
type room struct {
	// Fixed by newRoom.
	name      streams.Room
	partition streams.Partition
	keeps     int // events

	mu    sync.Mutex // guards the field below
	acked []ack      // in this round, in the order of the answers

	// Owned by the goroutine that settles the round.
	past []known    // the newest events of earlier rounds
	end  streams.ID // where the last round ended

	target atomic.Pointer[streams.ID] // the end of this round, set by settle
}

// An ack is one acknowledged event.
type ack struct {
	entry
	at time.Duration // since the system began
}

func (r *room) ack(a ack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = append(r.acked, a)
}

// takeAcked returns the events acknowledged in this round, in the order of ids.
func (r *room) takeAcked() []ack {
	r.mu.Lock()
	defer r.mu.Unlock()
	acked := r.acked
	r.acked = nil
	slices.SortFunc(acked, func(a, b ack) int { return a.id.Compare(b.id) })
	return acked
}

func itoa(n int) string    { return strconv.Itoa(n) }
func utoa(n uint64) string { return strconv.FormatUint(n, 10) }

func atou(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic(err) // Redis sends numbers here
	}
	return n
}
