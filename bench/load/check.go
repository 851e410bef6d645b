package load

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// An event's data is a JSON string of dataSize bytes, quotes included:
//
//	"~ppp nnnnnnnnn ttttttttttttttttttt xxxxx…"
//
// p is the publisher, n the number of the event among those of that publisher in
// that room, from 0, and t the time at which it was, or should have been, sent.
const (
	dataSize      = 128
	publisherAt   = 2
	publisherSize = 3
	numberAt      = publisherAt + publisherSize + 1
	numberSize    = 9
	timeAt        = numberAt + numberSize + 1
	timeSize      = 19

	maxPublishers = 64

	// maxHole bounds how many missing events are remembered at once.
	maxHole = 1 << 20
)

var errData = errors.New("not the data of an event")

// appendData appends an event's data.
func appendData(b []byte, publisher int, number uint32, sent int64) []byte {
	b = append(b, `"~`...)
	b = append(appendDigits(b, int64(publisher), publisherSize), ' ')
	b = append(appendDigits(b, int64(number), numberSize), ' ')
	b = append(appendDigits(b, sent, timeSize), ' ')
	const filler = "the quick brown fox jumps over the lazy dog, and over and over again till all of it is 128 bytes long"
	b = append(b, filler[:dataSize-timeAt-timeSize-2]...)
	return append(b, '"')
}

func appendDigits(b []byte, value int64, width int) []byte {
	at := len(b)
	b = append(b, "0000000000000000000"[:width]...)
	for i := at + width - 1; i >= at; i-- {
		b[i] = byte('0' + value%10)
		value /= 10
	}
	return b
}

// digits is the number that b has; ok is false where b has anything else.
func digits(b []byte) (value int64, ok bool) {
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		value = value*10 + int64(d-'0')
	}
	return value, len(b) > 0
}

// readData reads what appendData wrote, except for the time, which sentAt reads.
func readData(data []byte) (publisher int, number uint32, err error) {
	if len(data) != dataSize || data[1] != '~' {
		return 0, 0, fmt.Errorf("%w: %.40q", errData, data)
	}
	p, ok := digits(data[publisherAt : publisherAt+publisherSize])
	n, fine := digits(data[numberAt : numberAt+numberSize])
	if !ok || !fine || p >= maxPublishers {
		return 0, 0, fmt.Errorf("%w: %.40q", errData, data)
	}
	return int(p), uint32(n), nil
}

// sentAt is the time in what readData has accepted.
func sentAt(data []byte) int64 {
	t, _ := digits(data[timeAt : timeAt+timeSize]) // 0 for nonsense: shows as a latency of hours
	return t
}

// A verdict is what an event is to the client that gets it.
type verdict int

const (
	fresh    verdict = iota // the next, or one after events that are missing so far
	late                    // one that was missing: out of order
	repeated                // one that the client has
)

// A sequence is what a client has of a room: of each publisher all events up to
// the next, except for the holes.
type sequence struct {
	next  []uint32 // by publisher
	holes map[hole]struct{}
}

type hole struct {
	publisher int
	number    uint32
}

// startAt lets the client begin behind what has been published.
func (s *sequence) startAt(next []uint32) {
	s.next = append(s.next[:0], next...)
	s.holes = nil
}

// take notes an event.
func (s *sequence) take(publisher int, number uint32) (verdict, error) {
	if publisher >= len(s.next) {
		s.next = slices.Grow(s.next, publisher+1-len(s.next))[:publisher+1]
	}
	next := s.next[publisher]
	switch {
	case number == next:
		s.next[publisher]++
		return fresh, nil
	case number > next:
		return fresh, s.skip(publisher, number)
	}
	h := hole{publisher, number}
	if _, open := s.holes[h]; !open {
		return repeated, nil
	}
	delete(s.holes, h)
	return late, nil
}

func (s *sequence) skip(publisher int, number uint32) error {
	next := s.next[publisher]
	if len(s.holes)+int(number-next) > maxHole {
		return fmt.Errorf("publisher %d: event %d came where %d was expected", publisher, number, next)
	}
	if s.holes == nil {
		s.holes = make(map[hole]struct{})
	}
	for ; next < number; next++ {
		s.holes[hole{publisher, next}] = struct{}{}
	}
	s.next[publisher] = number + 1
	return nil
}

// rises reports whether id comes after last: ULIDs, which are of one length, and
// ids that are decimal numbers joined by ':' (nchan) or '-' (Redis).
func rises(id, last []byte) bool {
	if len(last) == 0 {
		return true
	}
	if len(id) == len(last) && !bytes.ContainsAny(id, ":-") {
		return bytes.Compare(id, last) > 0
	}
	for {
		a, restA, moreA := cutID(id)
		b, restB, moreB := cutID(last)
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		if c := bytes.Compare(a, b); c != 0 {
			return c > 0
		}
		if !moreA || !moreB {
			return moreA && !moreB
		}
		id, last = restA, restB
	}
}

// cutID cuts id at its first separator.
func cutID(id []byte) (part, rest []byte, more bool) {
	if i := bytes.IndexAny(id, ":-"); i >= 0 {
		return id[:i], id[i+1:], true
	}
	return id, nil, false
}
