// Package backlog counts the bytes of the messages that wait in a feed's channel. A channel
// bounds the number of its messages, but not their bytes.
package backlog

import "time"

// Poll is the time between two looks at a channel whose reader is behind. A channel does not
// tell its sender that the reader has taken a message.
const Poll = time.Millisecond

// A Backlog has the sizes of the newest messages that were sent to a channel. It is not safe
// for concurrent use.
type Backlog struct {
	sizes []int // a ring
	first int   // index of the oldest
	n     int
	bytes int // sum of the n sizes
}

// New returns the backlog of a channel with that capacity.
func New(capacity int) *Backlog {
	return &Backlog{sizes: make([]int, capacity+1)} // one more: a message that is being sent
}

// Add records a message that was sent to the channel or is being sent.
func (b *Backlog) Add(size int) {
	if b.n == len(b.sizes) {
		b.drop()
	}
	b.sizes[(b.first+b.n)%len(b.sizes)] = size
	b.n++
	b.bytes += size
}

// Bytes returns the bytes of the newest messages. waiting is their number, the length of the
// channel. It forgets all older ones.
func (b *Backlog) Bytes(waiting int) int {
	for b.n > waiting {
		b.drop()
	}
	return b.bytes
}

func (b *Backlog) drop() {
	b.bytes -= b.sizes[b.first]
	b.first = (b.first + 1) % len(b.sizes)
	b.n--
}
