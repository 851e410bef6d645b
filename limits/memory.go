package limits

import (
	"container/list"
	"sync"
)

// A MemoryPool bounds the memory that clients hold together, in bytes, such as bodies that
// are arriving and data that is not sent yet. If more is needed than the pool has, the
// client that has held its share longest without progress loses it. A client that is fast
// is therefore never affected by clients that are slow on purpose.
//
// A MemoryPool is safe for concurrent use. A nil MemoryPool counts nothing.
type MemoryPool struct {
	limit int64

	mu      sync.Mutex // guards the fields below
	used    int64      // by the shares in order
	order   list.List  // of *MemoryShare, the one without progress for longest first
	evicted int64      // number of shares that were taken away
}

// NewMemoryPool returns a MemoryPool of limit bytes, or nil if limit is not positive.
func NewMemoryPool(limit int64) *MemoryPool {
	if limit <= 0 {
		return nil
	}
	return &MemoryPool{limit: limit}
}

// A MemoryShare is the memory that one client holds. A nil MemoryShare counts nothing.
type MemoryShare struct {
	// Fixed by Hold.
	pool  *MemoryPool
	evict func()

	// Guarded by pool.mu.
	bytes int64
	place *list.Element // nil once released or evicted
}

// Hold returns a share of n bytes. evict is called at most once, if the pool takes the
// share away to make room. It must make the holder give up the memory and must not block
// or call the pool; the caller of Hold or Grow runs it. A share that alone exceeds the
// pool is evicted too. Release the share when the memory is free again.
func (p *MemoryPool) Hold(n int64, evict func()) *MemoryShare {
	if p == nil {
		return nil
	}
	s := &MemoryShare{pool: p, evict: evict}
	p.mu.Lock()
	s.place = p.order.PushBack(s)
	evictions := p.addLocked(s, n)
	p.mu.Unlock()
	run(evictions)
	return s
}

// Grow adds n bytes to the share. It counts as progress. After an eviction it does nothing.
func (s *MemoryShare) Grow(n int64) {
	if s == nil {
		return
	}
	p := s.pool
	p.mu.Lock()
	var evictions []func()
	if s.place != nil {
		p.order.MoveToBack(s.place)
		evictions = p.addLocked(s, n)
	}
	p.mu.Unlock()
	run(evictions)
}

// Release gives the share back. Releasing it again, or after an eviction, does nothing.
func (s *MemoryShare) Release() {
	if s == nil {
		return
	}
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	s.removeLocked()
}

// addLocked adds n bytes to s and removes shares until the rest fits. It returns the evict
// functions of the removed ones.
func (p *MemoryPool) addLocked(s *MemoryShare, n int64) (evictions []func()) {
	s.bytes += n
	p.used += n
	for p.used > p.limit {
		oldest := p.order.Front().Value.(*MemoryShare)
		oldest.removeLocked()
		p.evicted++
		evictions = append(evictions, oldest.evict)
	}
	return evictions
}

func (s *MemoryShare) removeLocked() {
	if s.place == nil {
		return
	}
	s.pool.order.Remove(s.place)
	s.pool.used -= s.bytes
	s.place = nil
}

func run(evictions []func()) {
	for _, evict := range evictions {
		evict()
	}
}

// Used returns the bytes held now.
func (p *MemoryPool) Used() int64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}

// Evicted returns how many shares the pool has taken away so far.
func (p *MemoryPool) Evicted() int64 {
	if p == nil {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.evicted
}
