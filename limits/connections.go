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

// Errors of Acquire, with text for the client. Retrying at once cannot help.
var (
	// ErrNodeFull concerns this node. Another node may have a free slot.
	ErrNodeFull = errors.New("this node has as many connections as it takes")
	// ErrAddressFull concerns the client's address on this node.
	ErrAddressFull = errors.New("this address has as many connections as one may have")
	// ErrUserFull concerns the user on all nodes. One of the user's connections must
	// close first.
	ErrUserFull = errors.New("this user has as many connections as one may have")
)

// ConnectionOptions configures a ConnectionLimiter. Limits count connections that are
// open at the same time; 0 means no limit.
type ConnectionOptions struct {
	PerNode    int // on this node
	PerAddress int // of one address, on this node
	PerUser    int // of one user, on all nodes

	// Redis is where the nodes share the counts of users, under keys that start with
	// Prefix; nil means that this node is the only one. The client must not retry
	// commands and must honour the deadlines of contexts. It must stay open until Close
	// has returned.
	Redis  redis.UniversalClient
	Prefix string

	// Lease is how long a connection of a crashed node still counts; 0 means
	// DefaultLease. All nodes must use the same value.
	Lease time.Duration

	Logger *slog.Logger // nil means none
}

// ConnectionLimiter limits the number of open connections. It is safe for concurrent use.
// A nil ConnectionLimiter admits everything.
//
// It counts the node and its addresses in memory. With Redis, it also counts users there,
// over all nodes: see leases.
type ConnectionLimiter struct {
	// Fixed by NewConnectionLimiter.
	opt    ConnectionOptions
	leases *leases // nil without Redis or without a limit per user

	mu        sync.Mutex // guards the fields below
	held      int
	addresses map[netip.Prefix]int // without zero counts
	users     map[string]int       // without zero counts; includes slots that wait for Redis
}

// NewConnectionLimiter returns a ConnectionLimiter without connections. It does not wait
// for Redis.
func NewConnectionLimiter(o ConnectionOptions) *ConnectionLimiter {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &ConnectionLimiter{opt: o, addresses: make(map[netip.Prefix]int), users: make(map[string]int)}
	if o.Redis != nil && o.PerUser > 0 {
		l.leases = startLeases(o)
	}
	return l
}

// Close removes the released slots from Redis and stops renewing the others. It waits for
// Redis for at most two seconds. Acquire must not be called afterwards.
func (l *ConnectionLimiter) Close() {
	if l != nil && l.leases != nil {
		l.leases.close()
	}
}

// Held returns the number of slots in use on this node.
func (l *ConnectionLimiter) Held() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held
}

// A Slot is the right to hold one connection. A nil Slot is valid and counts nothing.
type Slot struct {
	// Fixed by Acquire.
	limiter *ConnectionLimiter
	network netip.Prefix
	user    string
	lease   uint64 // number of the lease in Redis; 0 without one

	released bool // guarded by limiter.mu
}

// Acquire takes a slot for a connection from an address, which counts as NetworkOf says,
// and of a user. An empty user is not counted. Acquire returns one of the errors above or
// ctx's error. If Redis does not answer within 500 ms, the node's own counts decide.
func (l *ConnectionLimiter) Acquire(ctx context.Context, from netip.Addr, user string) (*Slot, error) {
	if l == nil {
		return nil, nil
	}
	slot := &Slot{limiter: l, network: NetworkOf(from), user: user}
	if err := l.count(slot); err != nil {
		return nil, err
	}
	if l.leases == nil || user == "" {
		return slot, nil
	}
	lease, err := l.leases.acquire(ctx, user)
	if err != nil {
		slot.Release()
		return nil, err
	}
	slot.lease = lease
	return slot, nil
}

// count adds a slot to the node's counts unless a limit is reached. A user already at the
// limit on this node is refused here, without asking Redis.
func (l *ConnectionLimiter) count(s *Slot) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case full(l.held, l.opt.PerNode):
		return fmt.Errorf("%w: %d", ErrNodeFull, l.opt.PerNode)
	case full(l.addresses[s.network], l.opt.PerAddress):
		return fmt.Errorf("%w: %d", ErrAddressFull, l.opt.PerAddress)
	case s.user != "" && full(l.users[s.user], l.opt.PerUser):
		return fmt.Errorf("%w: %d", ErrUserFull, l.opt.PerUser)
	}
	l.held++
	l.addresses[s.network]++
	if s.user != "" {
		l.users[s.user]++
	}
	return nil
}

func full(n, limit int) bool { return limit > 0 && n >= limit }

// Release frees the slot. It does not block. Releasing a slot again does nothing.
func (s *Slot) Release() {
	if s == nil || !s.uncount() || s.lease == 0 {
		return
	}
	s.limiter.leases.release(s.user, s.lease)
}

// uncount removes the slot from the node's counts. It reports false if that was done
// before.
func (s *Slot) uncount() bool {
	l := s.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.released {
		return false
	}
	s.released = true
	l.held--
	decrement(l.addresses, s.network)
	if s.user != "" {
		decrement(l.users, s.user)
	}
	return true
}

// decrement lowers a count by one and deletes it at zero.
func decrement[K comparable](counts map[K]int, k K) {
	if counts[k]--; counts[k] == 0 {
		delete(counts, k)
	}
}
