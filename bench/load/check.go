package load

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// The data of an event is a JSON string of dataSize bytes, including the quotes:
//
//	"~ppp nnnnnnnnn ttttttttttttttttttt xxxxx…"
//
// p is the publisher. n numbers the events of that publisher in that room, from 0. t is
// the time at which the event was sent or, at a fixed rate, was due.
const (
	dataSize      = 128
	publisherAt   = 2
	publisherSize = 3
	numberAt      = publisherAt + publisherSize + 1
	numberSize    = 9
	timeAt        = numberAt + numberSize + 1
	timeSize      = 19

	maxPublishers = 64

	// maxHole limits how many missing events a client remembers at a time.
	maxHole = 1 << 20
)

var errData = errors.New("invalid event data")

// appendData appends the data of an event.
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

// parseDigits parses a decimal number. ok is false if b is empty or has any other
// character.
func parseDigits(b []byte) (value int64, ok bool) {
	for _, d := range b {
		if d < '0' || d > '9' {
			return 0, false
		}
		value = value*10 + int64(d-'0')
	}
	return value, len(b) > 0
}

// readData parses data written by appendData, except for the time: sentAt parses that.
func readData(data []byte) (publisher int, number uint32, err error) {
	if len(data) != dataSize || data[1] != '~' {
		return 0, 0, fmt.Errorf("%w: %.40q", errData, data)
	}
	p, ok := parseDigits(data[publisherAt : publisherAt+publisherSize])
	n, numberOK := parseDigits(data[numberAt : numberAt+numberSize])
	if !ok || !numberOK || p >= maxPublishers {
		return 0, 0, fmt.Errorf("%w: %.40q", errData, data)
	}
	return int(p), uint32(n), nil
}

// sentAt returns the time in data that readData has accepted.
func sentAt(data []byte) int64 {
	t, _ := parseDigits(data[timeAt : timeAt+timeSize]) // 0 if invalid, which shows as a latency of hours
	return t
}

// An arrival classifies an event for the client that received it.
type arrival int

const (
	expected arrival = iota // the next event, or a later one while others are missing
	late                    // an event that was missing until now: out of order
	repeated                // an event that the client already has
)

// A sequence records the events of a room that a client has: for each publisher, every
// event before next except the holes.
type sequence struct {
	next  []uint32 // by publisher
	holes map[hole]struct{}
}

type hole struct {
	publisher int
	number    uint32
}

// startAt makes the client start after the events that were already published.
func (s *sequence) startAt(next []uint32) {
	s.next = append(s.next[:0], next...)
	s.holes = nil
}

// record classifies an event and adds it to the sequence. It fails if too many events
// are missing.
func (s *sequence) record(publisher int, number uint32) (arrival, error) {
	if publisher >= len(s.next) {
		s.next = slices.Grow(s.next, publisher+1-len(s.next))[:publisher+1]
	}
	next := s.next[publisher]
	switch {
	case number == next:
		s.next[publisher]++
		return expected, nil
	case number > next:
		return expected, s.skip(publisher, number)
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
		return fmt.Errorf("publisher %d: received event %d, expected %d: too many events are missing", publisher, number, next)
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

// isAfter reports whether id is greater than last. IDs are ULIDs, which all have the
// same length, or decimal numbers joined by ':' (nchan) or '-' (Redis).
func isAfter(id, last []byte) bool {
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

// cutID splits id at its first separator.
func cutID(id []byte) (part, rest []byte, more bool) {
	if i := bytes.IndexAny(id, ":-"); i >= 0 {
		return id[:i], id[i+1:], true
	}
	return id, nil, false
}
