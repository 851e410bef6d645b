package limits

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Why there is no seat, in words for the client. One more attempt at once would find
// the same.
var (
	// ErrNodeFull is about this node: another one may have room.
	ErrNodeFull = errors.New("this node has as many connections as it takes")
	// ErrAddressFull is about the client's address, on this node.
	ErrAddressFull = errors.New("this address has as many connections as one may have")
	// ErrUserFull is about the user, on all nodes: a connection has to end first.
	ErrUserFull = errors.New("this user has as many connections as one may have")
)

// ConnectionOptions say how many connections there may be at a time. The zero value of each
// field means its default.
type ConnectionOptions struct {
	PerNode    int // on this node; default: no limit
	PerAddress int // of one address, on this node; default: no limit
	PerUser    int // of one user, on all nodes; default: no limit

	// Redis is where the nodes tell each other of their users' connections, under keys
	// that start as Prefix says; default: this node is the only one. It may not
	// repeat calls by itself, has to heed the deadlines of contexts, and is to be open
	// for as long as the Seats.
	Redis  redis.UniversalClient
	Prefix string

	// Lease is how long a place in Redis outlives the node that has it; default
	// DefaultLease. All nodes have the same.
	Lease time.Duration

	Logger *slog.Logger // default: none
}

// ConnectionLimiter counts connections that stay, and refuses those that are too many. It may be
// used by any number of goroutines. A nil ConnectionLimiter has no limits.
//
// The node and its addresses are counted in memory. Where there is a Redis, users are
// counted there as well, over all nodes: see leases.
type ConnectionLimiter struct {
	// Fixed by NewSeats.
	opt    ConnectionOptions
	leases *leases // nil where nobody else has to know

	mu        sync.Mutex // guards the fields below
	held      int
	addresses map[netip.Prefix]int // only those that have a connection
	users     map[string]int       // the same; with those that are being asked for
}

// NewConnectionLimiter returns a Seats that nobody sits in. It does not wait for Redis.
func NewConnectionLimiter(o ConnectionOptions) *ConnectionLimiter {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &ConnectionLimiter{opt: o, addresses: make(map[netip.Prefix]int), users: make(map[string]int)}
	if o.Redis != nil && o.PerUser > 0 {
		s.leases = startLeases(o)
	}
	return s
}

// Close tells Redis of the seats that were left, for a moment at most, and stops
// renewing the others. No seat may be taken any more.
func (s *ConnectionLimiter) Close() {
	if s != nil && s.leases != nil {
		s.leases.close()
	}
}

// Held returns how many seats are taken on this node.
func (s *ConnectionLimiter) Held() int {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held
}

// A Slot is the place of one connection. A nil Slot is one without limits.
type Slot struct {
	// Fixed by Take.
	seats   *ConnectionLimiter
	network netip.Prefix
	user    string
	lease   uint64 // 0 for none

	left bool // guarded by seats.mu
}

// Acquire takes a seat for a connection from an address, counted as NetworkOf says, and of
// a user; "" is nobody, who is not counted. It returns one of the errors above, or ctx's.
// Where Redis is asked and does not answer soon, what this node knows decides.
func (s *ConnectionLimiter) Acquire(ctx context.Context, from netip.Addr, user string) (*Slot, error) {
	if s == nil {
		return nil, nil
	}
	seat := &Slot{seats: s, network: NetworkOf(from), user: user}
	if err := s.sit(seat); err != nil {
		return nil, err
	}
	if s.leases == nil || user == "" {
		return seat, nil
	}
	lease, err := s.leases.take(ctx, user)
	if err != nil {
		seat.Release()
		return nil, err
	}
	seat.lease = lease
	return seat, nil
}

// sit counts t in, if there is room. A user who is known here to have as many as
// allowed is no question for Redis, whatever storm they raise.
func (s *ConnectionLimiter) sit(t *Slot) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case full(s.held, s.opt.PerNode):
		return fmt.Errorf("%w: %d", ErrNodeFull, s.opt.PerNode)
	case full(s.addresses[t.network], s.opt.PerAddress):
		return fmt.Errorf("%w: %d", ErrAddressFull, s.opt.PerAddress)
	case t.user != "" && full(s.users[t.user], s.opt.PerUser):
		return fmt.Errorf("%w: %d", ErrUserFull, s.opt.PerUser)
	}
	s.held++
	s.addresses[t.network]++
	if t.user != "" {
		s.users[t.user]++
	}
	return nil
}

func full(n, most int) bool { return most > 0 && n >= most }

// Release gives the seat back. It does not wait, and doing it again does nothing.
func (t *Slot) Release() {
	if t == nil || !t.rise() || t.lease == 0 {
		return
	}
	t.seats.leases.end(t.user, t.lease)
}

// rise counts t out, and reports whether it was in.
func (t *Slot) rise() bool {
	s := t.seats
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.left {
		return false
	}
	t.left = true
	s.held--
	lower(s.addresses, t.network)
	if t.user != "" {
		lower(s.users, t.user)
	}
	return true
}

// lower takes one from a count, and forgets one that has come down to nothing.
func lower[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
}
