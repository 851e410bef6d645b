package conn

import (
	"math/rand/v2"
	"sync"
	"time"
)

// A Set holds the open connections of a server. The zero Set is empty and ready to use.
type Set struct {
	mu       sync.Mutex // guards the fields below
	all      map[*Conn]struct{}
	draining bool
}

// add registers c. After Drain the connection is drained at once.
func (s *Set) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*Conn]struct{})
	}
	s.all[c] = struct{}{}
	if s.draining {
		c.reasons.Or(uint32(DrainRequested))
	}
}

func (s *Set) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// Drain sends every client to another node, each at a random moment within spread.
// Connections that are added later are drained at once.
func (s *Set) Drain(spread time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for c := range s.all {
		time.AfterFunc(rand.N(max(spread, 1)), func() { c.WakeFor(DrainRequested) })
	}
}

// Close closes every connection without a word.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		_ = c.writer.transport.Close()
	}
}
