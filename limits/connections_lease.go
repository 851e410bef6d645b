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
	// DefaultLease is how long the places of a node that died are lost to its users. A
	// node renews them three times in it, so that one renewal that fails, and one that
	// comes late, cost nothing.
	DefaultLease = 30 * time.Second
	renewals     = 3

	// turns are the parts in which the users of a node have their leases renewed, one
	// after the other: 10,000 users are 1,000 calls a second, and not 10,000 at once. That
	// takes 0.7 % of the processor that Redis has (7.0, 7 µs a call; 6 for an admission).
	turns = 10

	// maxCalls bounds the calls of one pipeline: Redis serves others in between.
	// maxMembers bounds the connections of one call, which it does in one go.
	maxCalls   = 500
	maxMembers = 500

	// admitWait bounds how long a client waits for Redis to let it in.
	admitWait = 500 * time.Millisecond
	// pipeWait bounds one pipeline.
	pipeWait = time.Second

	// maxEnded bounds the leases that wait to be given back. Those beyond end by
	// themselves.
	maxEnded = 100_000
)

// leases tell all nodes, in Redis, how many connections each user has. For a user
// there is a sorted set with a member for each connection, scored with the time at
// which its lease ends, by Redis's own clock. The node that has the connection renews
// the lease: a node that died does not, and its places come free by themselves.
//
// Nothing is in Redis that the nodes don't know. While Redis does not answer, users are
// counted on each node for itself; one who has connections on several may then get as
// many on each. To refuse them instead would turn away everybody whom the node
// can serve well from memory. The next renewal that succeeds tells Redis of
// those who came meanwhile, as it does where Redis has lost everything. Nobody is
// sent away then: who has too many gets no more.
type leases struct {
	// Fixed by startLeases.
	rdb    redis.UniversalClient
	prefix string // of keys
	node   string // this process's own, before a connection's number
	life   time.Duration
	most   int // connections of a user
	logger *slog.Logger

	wake    chan struct{} // holds one token: something was given back
	stop    context.CancelFunc
	running sync.WaitGroup // keep

	turn int // whose leases were renewed last; owned by keep

	last atomic.Uint64 // the number of the newest connection

	mu    sync.Mutex // guards the fields below
	users map[string]*user
	due   [turns]map[*user]struct{} // every user is in one
	late  map[*user]struct{}        // of whom Redis has to be told as soon as it can be
	ended []lease                   // to be given back
	going map[string][]uint64       // by user: those of ended, until they are given back
	away  bool                      // the operator believes that Redis does not answer
	told  time.Time                 // since then
}

// A user is one who has connections on this node.
type user struct {
	name    string
	turn    int      // whose in leases.due
	numbers []uint64 // of the connections, in no order; guarded by leases.mu
}

// A lease is a connection's member in its user's set.
type lease struct {
	user   string
	number uint64
}

func startLeases(o ConnectionOptions) *leases {
	l := &leases{
		rdb: o.Redis, prefix: o.Prefix, node: rand.Text()[:12], life: o.Lease, most: o.PerUser, logger: o.Logger,
		wake: make(chan struct{}, 1), users: make(map[string]*user), late: make(map[*user]struct{}),
		going: make(map[string][]uint64),
	}
	if l.life == 0 {
		l.life = DefaultLease
	}
	for i := range l.due {
		l.due[i] = make(map[*user]struct{})
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	l.running.Go(func() { l.keep(ctx) })
	return l
}

// key is that of a user's set. A user's name may be anything: what follows the first
// brace in it is not part of the hash tag, and the key is the only one of its call.
func (l *leases) key(user string) string { return "{" + l.prefix + ":seats:" + user + "}" }

func (l *leases) member(number uint64) string { return l.node + ":" + strconv.FormatUint(number, 10) }

// take asks for one more place of a user's, and returns the number of its lease. An
// error is ErrUserFull or that of ctx.
func (l *leases) take(ctx context.Context, name string) (number uint64, err error) {
	number = l.last.Add(1)
	admitted, err := l.ask(ctx, name, number)
	if ctx.Err() != nil {
		l.forget(lease{name, number}) // Redis may have it all the same
		return 0, ctx.Err()
	}
	if l.heard(err); err == nil && !admitted {
		return 0, fmt.Errorf("%w: %d", ErrUserFull, l.most)
	}
	l.hold(name, number, err == nil)
	return number, nil
}

// ask has Redis decide.
func (l *leases) ask(ctx context.Context, name string, number uint64) (admitted bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, admitWait)
	defer cancel()
	args := append([]any{l.life.Milliseconds(), l.most, l.member(number)}, l.goingOf(name)...)
	reply, err := admitScript.Run(ctx, l.rdb, []string{l.key(name)}, args...).Int()
	if err == nil && reply != 0 && reply != 1 {
		err = fmt.Errorf("the answer is %d, want 0 or 1", reply)
	}
	return reply == 1, err
}

// goingOf returns connections of a user that have ended and may still be in Redis: whoever
// closes one and opens another, as a page does that is loaded again, has to find its place.
func (l *leases) goingOf(name string) (members []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	numbers := l.going[name]
	for _, n := range numbers[:min(len(numbers), maxMembers)] {
		members = append(members, l.member(n))
	}
	return members
}

// hold notes a connection whose lease is to be renewed. told says that Redis knows of
// it.
func (l *leases) hold(name string, number uint64, told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[name]
	if u == nil {
		u = &user{name: name, turn: int(number % turns)}
		l.users[name] = u
		l.due[u.turn][u] = struct{}{}
	}
	u.numbers = append(u.numbers, number)
	if !told {
		l.late[u] = struct{}{}
	}
}

// end gives a lease back, in the background.
func (l *leases) end(name string, number uint64) {
	l.mu.Lock()
	if u := l.users[name]; u != nil {
		l.removeLocked(u, number)
	}
	l.mu.Unlock()
	l.forget(lease{name, number})
}

// removeLocked takes a connection from its user, and forgets one who has no other. The
// caller must hold l.mu.
func (l *leases) removeLocked(u *user, number uint64) {
	i := slices.Index(u.numbers, number)
	if i < 0 {
		return
	}
	u.numbers[i] = u.numbers[len(u.numbers)-1]
	if u.numbers = u.numbers[:len(u.numbers)-1]; len(u.numbers) == 0 {
		delete(l.users, u.name)
		delete(l.due[u.turn], u)
		delete(l.late, u)
	}
}

// forget has keep take a lease out of Redis.
func (l *leases) forget(e lease) {
	l.mu.Lock()
	if len(l.ended) < maxEnded {
		l.ended = append(l.ended, e)
		l.going[e.user] = append(l.going[e.user], e.number)
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default: // it is about to look
	}
}

// keep renews leases and gives them back, one after the other: a renewal that is
// overtaken by the end of its connection would leave a member behind.
func (l *leases) keep(ctx context.Context) {
	beat := time.NewTicker(max(l.life/renewals/turns, time.Millisecond))
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
			l.giveBack()
		case <-beat.C:
			l.renew(ctx)
		}
	}
}

// close ends keep, and gives back what was ended by then. It takes as long as two
// pipelines may.
func (l *leases) close() {
	l.stop()
	l.running.Wait()
	l.giveBack()
}

// giveBack takes the leases that have ended out of Redis. What it does not get done
// ends by itself.
func (l *leases) giveBack() {
	l.mu.Lock()
	ended := l.ended
	l.ended = nil
	l.mu.Unlock()
	defer l.gone(ended)
	began := time.Now()
	for part := range slices.Chunk(ended, maxCalls) {
		if time.Since(began) > pipeWait { // a slow Redis must not keep renewals or the node's end waiting
			return
		}
		err := l.pipe(func(ctx context.Context, p redis.Pipeliner) {
			for _, e := range part {
				p.ZRem(ctx, l.key(e.user), l.member(e.number))
			}
		})
		if l.heard(err); err != nil {
			return
		}
	}
}

// gone forgets leases that were given back, or will end by themselves.
func (l *leases) gone(ended []lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range ended {
		rest := slices.DeleteFunc(l.going[e.user], func(n uint64) bool { return n == e.number })
		if l.going[e.user] = rest; len(rest) == 0 {
			delete(l.going, e.user)
		}
	}
}

// renew renews the leases of the users whose turn it is, and of those who are late for
// as long as Redis answers: one that does not must not keep the others waiting. It ends
// early when ctx does.
func (l *leases) renew(ctx context.Context) {
	l.turn = (l.turn + 1) % turns
	for part := range slices.Chunk(l.those(l.due[l.turn]), maxCalls) {
		if l.tell(part); ctx.Err() != nil {
			return
		}
	}
	for part := range slices.Chunk(l.those(l.late), maxCalls) {
		if !l.tell(part) || ctx.Err() != nil {
			return
		}
	}
}

func (l *leases) those(set map[*user]struct{}) []*user {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*user, 0, len(set))
	for u := range set {
		all = append(all, u)
	}
	return all
}

// A renewal is one call: connections of one user.
type renewal struct {
	user *user
	args []any // of renewScript
	cmd  *redis.Cmd
}

// tell renews all leases of users. Those of whom Redis was not told are late from now
// on. It reports whether there are none.
func (l *leases) tell(users []*user) bool {
	calls := l.renewals(users)
	err := l.send(calls, renewScript.EvalSha)
	if slices.ContainsFunc(calls, func(c renewal) bool { return redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") }) {
		err = l.send(calls, renewScript.Eval) // a Redis that was restarted does not know it
	}
	l.heard(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range users {
		delete(l.late, u)
	}
	for _, c := range calls {
		if c.cmd.Err() != nil && len(c.user.numbers) > 0 {
			l.late[c.user] = struct{}{}
		}
	}
	return err == nil
}

// send sends calls in one pipeline, and returns the first error.
func (l *leases) send(calls []renewal, run func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
	return l.pipe(func(ctx context.Context, p redis.Pipeliner) {
		for i, c := range calls {
			calls[i].cmd = run(ctx, p, []string{l.key(c.user.name)}, c.args...)
		}
	})
}

// renewals returns what Redis is to be told of users who are still here.
func (l *leases) renewals(users []*user) (calls []renewal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range users {
		for numbers := range slices.Chunk(u.numbers, maxMembers) {
			args := make([]any, 1, 1+len(numbers))
			args[0] = l.life.Milliseconds()
			for _, n := range numbers {
				args = append(args, l.member(n))
			}
			calls = append(calls, renewal{user: u, args: args})
		}
	}
	return calls
}

// pipe sends what fill puts into one pipeline, and returns the first error.
func (l *leases) pipe(fill func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipeWait)
	defer cancel()
	p := l.rdb.Pipeline()
	if fill(ctx, p); p.Len() == 0 {
		return nil
	}
	_, err := p.Exec(ctx)
	return err
}

// heard tells the operator how Redis answered where that has changed, and not more often
// than every complainEvery: one that has lost a part of a Cluster, or has no memory left,
// answers for some users and not for others.
func (l *leases) heard(err error) {
	l.mu.Lock()
	changed := l.away != (err != nil) && time.Since(l.told) >= complainEvery
	if changed {
		l.away, l.told = err != nil, time.Now()
	}
	l.mu.Unlock()
	switch {
	case !changed:
	case err != nil:
		l.logger.Warn("redis does not count connections now: users are counted on each node for itself", "error", err)
	default:
		l.logger.Info("redis counts connections again")
	}
}
