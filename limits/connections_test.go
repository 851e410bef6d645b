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

// somewhere is an address of no interest.
var somewhere = netip.MustParseAddr("192.0.2.1")

// take takes a seat that must be free.
func take(t testing.TB, s *limits.ConnectionLimiter, from netip.Addr, user string) *limits.Slot {
	t.Helper()
	seat, err := s.Acquire(t.Context(), from, user)
	if err != nil {
		t.Fatalf("seat for %q from %v: %v", user, from, err)
	}
	return seat
}

// refused takes a seat that must not be there, for the reason want.
func refused(t testing.TB, s *limits.ConnectionLimiter, from netip.Addr, user string, want error) {
	t.Helper()
	if _, err := s.Acquire(t.Context(), from, user); !errors.Is(err, want) {
		t.Errorf("seat for %q from %v: %v, want %v", user, from, err, want)
	}
}

// Each limit counts its own, and a seat that was left is another's.
func TestSeats(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for name, tt := range map[string]struct {
		limits.ConnectionOptions
		full, others []caller // after two of the first of full
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
			seats := []*limits.Slot{take(t, s, first.from, first.user), take(t, s, first.from, first.user)}
			for _, c := range tt.full {
				refused(t, s, c.from, c.user, tt.err)
			}
			for _, c := range tt.others {
				seats = append(seats, take(t, s, c.from, c.user))
			}
			seats[0].Release()
			seats[0].Release() // once is enough
			last := tt.full[len(tt.full)-1]
			seats[0] = take(t, s, last.from, last.user)
			refused(t, s, first.from, first.user, tt.err)
			for _, seat := range seats {
				seat.Release()
			}
			if n := s.Held(); n != 0 {
				t.Errorf("%d seats are held", n)
			}
		})
	}
}

type caller struct {
	from netip.Addr
	user string
}

// Where there are no limits, there is nothing to be given back either.
func TestNoSeats(t *testing.T) {
	var s *limits.ConnectionLimiter
	take(t, s, somewhere, "ann").Release()
	s.Close()
	if n := s.Held(); n != 0 {
		t.Errorf("%d seats are held", n)
	}
}

// However many come at once, no more get in than there is room for.
func TestSeatsAtOnce(t *testing.T) {
	for name, o := range map[string]limits.ConnectionOptions{"node": {PerNode: 5}, "address": {PerAddress: 5}, "user": {PerUser: 5}} {
		t.Run(name, func(t *testing.T) {
			if admitted := crowd(t, 200, limits.NewConnectionLimiter(o)); len(admitted) != 5 {
				t.Errorf("%d were admitted, want 5", len(admitted))
			}
		})
	}
}

// crowd has n connections of ann's come at once, to each node in turn, and returns
// those that were admitted.
func crowd(t testing.TB, n int, nodes ...*limits.ConnectionLimiter) (admitted []*limits.Slot) {
	t.Helper()
	var coming sync.WaitGroup
	var mu sync.Mutex // guards admitted
	begin := make(chan struct{})
	for i := range n {
		coming.Go(func() {
			<-begin
			seat, err := nodes[i%len(nodes)].Acquire(context.Background(), somewhere, "ann")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				admitted = append(admitted, seat)
			case !errors.Is(err, limits.ErrUserFull) && !errors.Is(err, limits.ErrAddressFull) && !errors.Is(err, limits.ErrNodeFull):
				t.Error(err)
			}
		})
	}
	close(begin)
	coming.Wait()
	return admitted
}

func BenchmarkSeats(b *testing.B) {
	s := limits.NewConnectionLimiter(limits.ConnectionOptions{PerNode: 1 << 30, PerAddress: 1 << 30, PerUser: 1 << 30})
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		take(b, s, somewhere, strconv.Itoa(i%1000)).Release()
	}
}
