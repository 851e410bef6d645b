package limits_test

import (
	"context"
	"errors"
	"net/netip"
	"strconv"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/limits"
)

// anAddress is for tests in which the address does not matter.
var anAddress = netip.MustParseAddr("192.0.2.1")

// acquire acquires a slot that must be free.
func acquire(t testing.TB, l *limits.ConnectionLimiter, from netip.Addr, user string) *limits.Slot {
	t.Helper()
	slot, err := l.Acquire(t.Context(), from, user)
	if err != nil {
		t.Fatalf("slot for %q from %v: %v", user, from, err)
	}
	return slot
}

// mustRefuse checks that Acquire fails with the error want.
func mustRefuse(t testing.TB, l *limits.ConnectionLimiter, from netip.Addr, user string, want error) {
	t.Helper()
	if _, err := l.Acquire(t.Context(), from, user); !errors.Is(err, want) {
		t.Errorf("slot for %q from %v: %v, want %v", user, from, err, want)
	}
}

// Each limit counts only its own node, address or user, and a released slot is free again.
func TestConnectionLimits(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for name, tt := range map[string]struct {
		limits.ConnectionOptions
		full, others []caller // refused and admitted after two connections of full[0]
		err          error
	}{
		"node":    {limits.ConnectionOptions{PerNode: 2}, []caller{{a, "ann"}, {b, "bob"}, {b, ""}}, nil, limits.ErrNodeFull},
		"address": {limits.ConnectionOptions{PerAddress: 2}, []caller{{a, "ann"}, {a, "bob"}, {netip.MustParseAddr("::ffff:192.0.2.1"), ""}}, []caller{{b, "ann"}}, limits.ErrAddressFull},
		"network": {limits.ConnectionOptions{PerAddress: 2}, []caller{{netip.MustParseAddr("2001:db8::1"), ""}, {netip.MustParseAddr("2001:db8::ffff:1:2:3"), ""}}, []caller{{netip.MustParseAddr("2001:db8:0:1::1"), ""}}, limits.ErrAddressFull},
		"user":    {limits.ConnectionOptions{PerUser: 2}, []caller{{a, "ann"}, {b, "ann"}}, []caller{{a, "bob"}, {a, ""}, {a, ""}, {a, ""}}, limits.ErrUserFull},
	} {
		t.Run(name, func(t *testing.T) {
			s := limits.NewConnectionLimiter(tt.ConnectionOptions)
			defer s.Close()
			first := tt.full[0]
			slots := []*limits.Slot{acquire(t, s, first.from, first.user), acquire(t, s, first.from, first.user)}
			for _, c := range tt.full {
				mustRefuse(t, s, c.from, c.user, tt.err)
			}
			for _, c := range tt.others {
				slots = append(slots, acquire(t, s, c.from, c.user))
			}
			slots[0].Release()
			slots[0].Release() // a second Release does nothing
			last := tt.full[len(tt.full)-1]
			slots[0] = acquire(t, s, last.from, last.user)
			mustRefuse(t, s, first.from, first.user, tt.err)
			for _, slot := range slots {
				slot.Release()
			}
			if n := s.Held(); n != 0 {
				t.Errorf("%d slots are held", n)
			}
		})
	}
}

type caller struct {
	from netip.Addr
	user string
}

// A nil ConnectionLimiter admits every connection.
func TestNilConnectionLimiter(t *testing.T) {
	var l *limits.ConnectionLimiter
	acquire(t, l, anAddress, "ann").Release()
	l.Close()
	if n := l.Held(); n != 0 {
		t.Errorf("%d slots are held", n)
	}
}

// When many connections arrive at once, exactly as many as the limit are admitted.
func TestConnectionsAtOnce(t *testing.T) {
	for name, o := range map[string]limits.ConnectionOptions{"node": {PerNode: 5}, "address": {PerAddress: 5}, "user": {PerUser: 5}} {
		t.Run(name, func(t *testing.T) {
			if admitted := acquireAtOnce(t, 200, limits.NewConnectionLimiter(o)); len(admitted) != 5 {
				t.Errorf("%d were admitted, want 5", len(admitted))
			}
		})
	}
}

// acquireAtOnce opens n connections of ann at once, on each node in turn, and returns the
// slots of the admitted ones.
func acquireAtOnce(t testing.TB, n int, nodes ...*limits.ConnectionLimiter) (admitted []*limits.Slot) {
	t.Helper()
	var arriving sync.WaitGroup
	var mu sync.Mutex // guards admitted
	begin := make(chan struct{})
	for i := range n {
		arriving.Go(func() {
			<-begin
			slot, err := nodes[i%len(nodes)].Acquire(context.Background(), anAddress, "ann")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				admitted = append(admitted, slot)
			case !errors.Is(err, limits.ErrUserFull) && !errors.Is(err, limits.ErrAddressFull) && !errors.Is(err, limits.ErrNodeFull):
				t.Error(err)
			}
		})
	}
	close(begin)
	arriving.Wait()
	return admitted
}

func BenchmarkAcquire(b *testing.B) {
	l := limits.NewConnectionLimiter(limits.ConnectionOptions{PerNode: 1 << 30, PerAddress: 1 << 30, PerUser: 1 << 30})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		acquire(b, l, anAddress, strconv.Itoa(i%1000)).Release()
	}
}
