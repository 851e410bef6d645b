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

// A mark tells which event of a room it is: its publisher, and the publisher's own
// number. It is the beginning of the event's data, "17.42.xxxx".
type mark uint64

func makeMark(publisher, number int) mark { return mark(publisher)<<40 | mark(number) }

func (m mark) publisher() int { return int(m >> 40) }
func (m mark) number() int    { return int(m & (1<<40 - 1)) }

func (m mark) String() string { return itoa(m.publisher()) + "." + itoa(m.number()) }

// appendData appends the data of an event: the mark, and as much more as the
// event is to be long.
func (m mark) appendData(b []byte, padding int) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(m.publisher()), 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, int64(m.number()), 10)
	b = append(b, '.')
	b = append(b, bytes.Repeat([]byte{'x'}, padding)...)
	return append(b, '"')
}

// parseMark reads the mark at the beginning of an event's data.
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

// digits reads a number up to its dot.
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

// A room is what all publishers together know of one room.
type room struct {
	// Fixed by newRoom.
	name      streams.Room
	partition streams.Partition
	keeps     int // events

	mu    sync.Mutex // guards the field below
	acked []ack      // of this round, in the order of the answers

	// Owned by whoever settles the round.
	past []known    // the newest of earlier rounds
	end  streams.ID // where the last round ended

	target atomic.Pointer[streams.ID] // the end of this round, while it is settled
}

// An ack is one event that a publisher was told is logged.
type ack struct {
	entry
	at time.Duration // since the world began
}

func (r *room) ack(a ack) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked = append(r.acked, a)
}

// takeAcked returns what was acknowledged in this round, in the order of ids.
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
		panic(err) // Redis says nothing else
	}
	return n
}
