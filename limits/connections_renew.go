package limits

import (
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxCalls bounds the calls of one pipeline, and maxMembers the connections of one
	// call, so that Redis can serve other clients in between.
	maxCalls   = 500
	maxMembers = 500

	// pipelineWait bounds one pipeline.
	pipelineWait = time.Second
)

// run renews leases and removes released ones until ctx ends. One goroutine does both,
// because a renewal that arrives after the removal of its lease would add it again.
func (l *leases) run(ctx context.Context) {
	ticker := time.NewTicker(max(l.life/renewals/cohorts, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
			l.removeReleased()
		case <-ticker.C:
			l.renew(ctx)
		}
	}
}

// close stops run and removes the leases that were released by then. It takes at most as
// long as two pipelines.
func (l *leases) close() {
	l.stop()
	l.running.Wait()
	l.removeReleased()
}

// removeReleased removes released leases from Redis. It gives up after an error or after
// pipelineWait, because a slow Redis must not delay renewals or the end of the node. The
// remaining leases expire.
func (l *leases) removeReleased() {
	l.mu.Lock()
	released := l.released
	l.released = nil
	l.mu.Unlock()
	defer l.forget(released)
	began := time.Now()
	for part := range slices.Chunk(released, maxCalls) {
		if time.Since(began) > pipelineWait {
			return
		}
		err := l.pipeline(func(ctx context.Context, p redis.Pipeliner) {
			for _, e := range part {
				p.ZRem(ctx, l.key(e.user), l.member(e.number))
			}
		})
		if l.report(err); err != nil {
			return
		}
	}
}

// forget drops leases that were removed from Redis or will expire there.
func (l *leases) forget(released []lease) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range released {
		rest := slices.DeleteFunc(l.releasing[e.user], func(n uint64) bool { return n == e.number })
		if l.releasing[e.user] = rest; len(rest) == 0 {
			delete(l.releasing, e.user)
		}
	}
}

// renew renews the leases of the next cohort, and then those of overdue users until Redis
// fails, so that a failing Redis does not delay the next cohorts. It stops early when ctx
// ends.
func (l *leases) renew(ctx context.Context) {
	l.cohort = (l.cohort + 1) % cohorts
	for part := range slices.Chunk(l.usersIn(l.due[l.cohort]), maxCalls) {
		if l.renewUsers(part); ctx.Err() != nil {
			return
		}
	}
	for part := range slices.Chunk(l.usersIn(l.overdue), maxCalls) {
		if !l.renewUsers(part) || ctx.Err() != nil {
			return
		}
	}
}

func (l *leases) usersIn(set map[*user]struct{}) []*user {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*user, 0, len(set))
	for u := range set {
		all = append(all, u)
	}
	return all
}

// A renewal is one call of renewScript, for leases of one user.
type renewal struct {
	user *user
	args []any
	cmd  *redis.Cmd
}

// renewUsers renews all leases of users and reports whether that succeeded. Users whose
// renewal failed become overdue.
func (l *leases) renewUsers(users []*user) bool {
	calls := l.renewals(users)
	err := l.send(calls, renewScript.EvalSha)
	if slices.ContainsFunc(calls, func(c renewal) bool { return redis.HasErrorPrefix(c.cmd.Err(), "NOSCRIPT") }) {
		err = l.send(calls, renewScript.Eval) // a restarted Redis does not know the script
	}
	l.report(err)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, u := range users {
		delete(l.overdue, u)
	}
	for _, c := range calls {
		if c.cmd.Err() != nil && len(c.user.numbers) > 0 {
			l.overdue[c.user] = struct{}{}
		}
	}
	return err == nil
}

// send sends calls in one pipeline and returns the first error.
func (l *leases) send(calls []renewal, run func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
	return l.pipeline(func(ctx context.Context, p redis.Pipeliner) {
		for i, c := range calls {
			calls[i].cmd = run(ctx, p, []string{l.key(c.user.name)}, c.args...)
		}
	})
}

// renewals returns the calls that renew the current leases of users.
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

// pipeline sends the commands that fill adds and returns the first error.
func (l *leases) pipeline(fill func(context.Context, redis.Pipeliner)) error {
	ctx, cancel := context.WithTimeout(context.Background(), pipelineWait)
	defer cancel()
	p := l.rdb.Pipeline()
	if fill(ctx, p); p.Len() == 0 {
		return nil
	}
	_, err := p.Exec(ctx)
	return err
}
