package limits_test

import (
	"slices"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/limits"
)

// holder records the evictions of the shares that it holds.
type holder struct{ evicted []string }

func (h *holder) hold(p *limits.MemoryPool, name string, n int64) *limits.MemoryShare {
	return p.Hold(n, func() { h.evicted = append(h.evicted, name) })
}

// The pool never counts more than its limit, and the share without progress for longest
// goes first.
func TestMemoryPoolEvictsTheOldest(t *testing.T) {
	pool, h := limits.NewMemoryPool(100), &holder{}
	a, b := h.hold(pool, "a", 40), h.hold(pool, "b", 40)
	a.Grow(10) // progress: now b is the oldest
	c := h.hold(pool, "c", 20)
	if !slices.Equal(h.evicted, []string{"b"}) || pool.Used() != 70 {
		t.Fatalf("evicted %v, %d bytes used; want [b] and 70", h.evicted, pool.Used())
	}
	b.Grow(50)
	b.Release()
	if pool.Used() != 70 {
		t.Errorf("an evicted share still counts: %d bytes used, want 70", pool.Used())
	}
	h.hold(pool, "d", 80)
	if !slices.Equal(h.evicted, []string{"b", "a"}) || pool.Used() != 100 {
		t.Errorf("evicted %v, %d bytes used; want [b a] and 100", h.evicted, pool.Used())
	}
	c.Release()
	c.Release()
	if pool.Used() != 80 {
		t.Errorf("%d bytes used after a release, want 80", pool.Used())
	}
	if n := pool.Evicted(); n != 2 {
		t.Errorf("Evicted is %d, want 2", n)
	}
}

// A share that exceeds the pool alone is evicted, after all others.
func TestMemoryPoolRefusesTooMuch(t *testing.T) {
	pool, h := limits.NewMemoryPool(100), &holder{}
	h.hold(pool, "a", 10)
	h.hold(pool, "b", 101)
	if !slices.Equal(h.evicted, []string{"a", "b"}) || pool.Used() != 0 {
		t.Errorf("evicted %v, %d bytes used; want [a b] and 0", h.evicted, pool.Used())
	}
}

// Without a limit nothing is counted.
func TestMemoryPoolWithoutLimit(t *testing.T) {
	s := limits.NewMemoryPool(0).Hold(1<<40, func() { t.Error("evicted") })
	s.Grow(1 << 40)
	s.Release()
}

// Shares may be held and released concurrently, and nothing remains counted.
func TestMemoryPoolConcurrently(t *testing.T) {
	pool := limits.NewMemoryPool(1000)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				s := pool.Hold(int64(i%400), func() {})
				s.Grow(10)
				if pool.Used() > 1000 {
					t.Error("the pool counts more than its limit")
				}
				s.Release()
			}
		})
	}
	all.Wait()
	if pool.Used() != 0 {
		t.Errorf("%d bytes used, want 0", pool.Used())
	}
}
