package limits

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// DefaultLease is how long the connections of a crashed node still count. A node
	// renews a lease three times in that time, so that one failed or late renewal does
	// no harm.
	DefaultLease = 30 * time.Second
	renewals     = 3

	// cohorts is the number of groups into which a node divides its users. It renews
	// one group after the other, to spread the load: 10,000 users cause 1,000 calls a
	// second. Measured on Redis 7.0, a renewal takes 7 µs and an admission 6 µs, so
	// these 1,000 calls use 0.7 % of the processor that Redis has.
	cohorts = 10

	// admitWait bounds how long a client waits for Redis to admit it.
	admitWait = 500 * time.Millisecond

	// maxReleased bounds the leases that wait to be removed from Redis. Leases beyond
	// it expire.
	maxReleased = 100_000
)

// leases counts each user's connections over all nodes, in Redis. A user has one sorted
// set with a member per connection. The member's score is the time at which its lease
// ends, by Redis's clock. The node that holds the connection renews the lease. The leases
// of a crashed node expire.
//
// Redis holds no state that the nodes do not have. While Redis does not answer, each node
// counts its own connections, so a user may reach the limit on every node. Refusing
// instead would reject all users whom the node can serve from memory. The next successful
// renewal adds the connections that Redis does not know, also if it has lost all data. A
// user over the limit keeps the connections and gets no more.
type leases struct {
	// Fixed by startLeases.
	rdb     redis.UniversalClient
	prefix  string // of keys
	node    string // random name of this process; members of sets start with it
	life    time.Duration
	perUser int
	logger  *slog.Logger

	wake    chan struct{} // buffered for one: released is not empty
	stop    context.CancelFunc
	running sync.WaitGroup // the run goroutine

	cohort int // the cohort renewed last; owned by run

	last atomic.Uint64 // number of the newest lease

	mu        sync.Mutex // guards the fields below
	users     map[string]*user
	due       [cohorts]map[*user]struct{} // each user is in exactly one
	overdue   map[*user]struct{}          // users with leases that Redis does not know
	released  []lease                     // to remove from Redis
	releasing map[string][]uint64         // numbers of released leases by user, until removed
	failing   bool                        // the last reported state of Redis
	reported  time.Time                   // when failing was reported
}

// A user has at least one connection on this node.
type user struct {
	name    string
	cohort  int      // index in leases.due
	numbers []uint64 // of the leases, unordered; guarded by leases.mu
}

// A lease is one member of a user's set.
type lease struct {
	user   string
	number uint64
}

func startLeases(o ConnectionOptions) *leases {
	l := &leases{
		rdb: o.Redis, prefix: o.Prefix, node: rand.Text()[:12], life: o.Lease, perUser: o.PerUser, logger: o.Logger,
		wake: make(chan struct{}, 1), users: make(map[string]*user), overdue: make(map[*user]struct{}),
		releasing: make(map[string][]uint64),
	}
	if l.life == 0 {
		l.life = DefaultLease
	}
	for i := range l.due {
		l.due[i] = make(map[*user]struct{})
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.running.Go(func() { l.run(ctx) })
	return l
}

// key returns the key of a user's set. The name may contain braces, which would shorten
// the hash tag. That is safe because each call uses only one key.
func (l *leases) key(user string) string { return "{" + l.prefix + ":seats:" + user + "}" }

func (l *leases) member(number uint64) string { return l.node + ":" + strconv.FormatUint(number, 10) }

// acquire takes a lease for one more connection of a user and returns its number. If
// Redis does not answer, the lease is granted. Errors: ErrUserFull, or ctx's error.
func (l *leases) acquire(ctx context.Context, name string) (number uint64, err error) {
	number = l.last.Add(1)
	admitted, err := l.admit(ctx, name, number)
	if ctx.Err() != nil {
		l.queueRelease(lease{name, number}) // Redis may have granted it
		return 0, ctx.Err()
	}
	if l.report(err); err == nil && !admitted {
		return 0, fmt.Errorf("%w: %d", ErrUserFull, l.perUser)
	}
	l.add(name, number, err == nil)
	return number, nil
}

// admit asks Redis for a lease.
func (l *leases) admit(ctx context.Context, name string, number uint64) (admitted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, admitWait)
	defer cancel()
	args := append([]any{l.life.Milliseconds(), l.perUser, l.member(number)}, l.releasingOf(name)...)
	reply, err := admitScript.Run(ctx, l.rdb, []string{l.key(name)}, args...).Int()
	if err == nil && reply != 0 && reply != 1 {
		err = fmt.Errorf("the reply is %d, want 0 or 1", reply)
	}
	return reply == 1, err
}

// releasingOf returns members of a user that are released but may still be in Redis. The
// admission removes them, so that a page that is reloaded finds the slot of its closed
// connection free.
func (l *leases) releasingOf(name string) (members []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := l.releasing[name]
	for _, n := range numbers[:min(len(numbers), maxMembers)] {
		members = append(members, l.member(n))
	}
	return members
}

// add records a lease that must be renewed. inRedis says whether Redis knows it.
func (l *leases) add(name string, number uint64, inRedis bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[name]
	if u == nil {
		u = &user{name: name, cohort: int(number % cohorts)}
		l.users[name] = u
		l.due[u.cohort][u] = struct{}{}
	}
	u.numbers = append(u.numbers, number)
	if !inRedis {
		l.overdue[u] = struct{}{}
	}
}

// release ends a lease. The run goroutine removes it from Redis.
func (l *leases) release(name string, number uint64) {
	l.mu.Lock()
	if u := l.users[name]; u != nil {
		l.removeLocked(u, number)
	}
	l.mu.Unlock()
	l.queueRelease(lease{name, number})
}

// removeLocked removes a lease from its user, and the user after the last one. The caller
// must hold l.mu.
func (l *leases) removeLocked(u *user, number uint64) {
	i := slices.Index(u.numbers, number)
	if i < 0 {
		return
	}
	u.numbers[i] = u.numbers[len(u.numbers)-1]
	if u.numbers = u.numbers[:len(u.numbers)-1]; len(u.numbers) == 0 {
		delete(l.users, u.name)
		delete(l.due[u.cohort], u)
		delete(l.overdue, u)
	}
}

// queueRelease asks the run goroutine to remove a lease from Redis. It does not block.
func (l *leases) queueRelease(e lease) {
	l.mu.Lock()
	if len(l.released) < maxReleased {
		l.released = append(l.released, e)
		l.releasing[e.user] = append(l.releasing[e.user], e.number)
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // already woken
	}
}

// report logs a change between failure and success of Redis, at most once per
// warnEvery. A Redis that answers for some users only, because a Cluster lost a part
// or memory is full, would otherwise cause a line per connection.
func (l *leases) report(err error) {
	l.mu.Lock()
	changed := l.failing != (err != nil) && time.Since(l.reported) >= warnEvery
	if changed {
		l.failing, l.reported = err != nil, time.Now()
	}
	l.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		l.logger.Warn("redis cannot count connections; each node now counts its own connections of a user", "error", err)
	default:
		l.logger.Info("redis counts connections again")
	}
}
