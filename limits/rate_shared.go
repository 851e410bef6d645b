package limits

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
)

const (
	// takeWait bounds how long Take waits for Redis. A call usually takes well below a
	// millisecond. If Redis is slow, the publish itself must wait for Redis too.
	takeWait = 500 * time.Millisecond
	// warnEvery is the minimum time between two log lines about a failing Redis.
	warnEvery = time.Minute
)

// A SharedLimiter is a RateLimiter in Redis, shared by all nodes that use the same Redis
// and prefix. While Redis does not answer, each node counts in a LocalLimiter, whose
// buckets start full. No caller is refused because Redis is down.
//
// A bucket is one key, which expires when the bucket is full. Its value is the time of
// the generic cell rate algorithm at which that happens
// (github.com/go-redis/redis_rate).
type SharedLimiter struct {
	limiter *redis_rate.Limiter
	rate    redis_rate.Limit
	local   *LocalLimiter // decides while Redis does not answer
	logger  *slog.Logger

	warned atomic.Int64 // time of the last warning, in Unix nanoseconds
}

var _ RateLimiter = (*SharedLimiter)(nil)

// NewSharedLimiter returns a SharedLimiter with the rate r, which must not be zero. The
// client must not retry commands. Keys have the form {prefix:limit:name:caller}; the
// braces make a Cluster distribute them by caller. The logger gets at most one warning a
// minute while Redis fails.
func NewSharedLimiter(client redis.UniversalClient, prefix, name string, r Rate, logger *slog.Logger) *SharedLimiter {
	return &SharedLimiter{
		limiter: redis_rate.NewLimiter(&keyed{UniversalClient: client, prefix: prefix + ":limit:" + name + ":"}),
		rate:    redis_rate.Limit{Rate: r.Events, Burst: r.Burst, Period: r.Per},
		local:   NewLocalLimiter(r),
		logger:  logger,
	}
}

// Rate implements RateLimiter.
func (s *SharedLimiter) Rate() Rate { return s.local.rate }

// Take implements RateLimiter.
func (s *SharedLimiter) Take(ctx context.Context, caller string, n, minimum int) Decision {
	bounded, cancel := context.WithTimeout(ctx, takeWait)
	defer cancel()
	decision, err := s.take(bounded, caller, n, minimum)
	if err != nil {
		s.warn(err)
		return s.local.Take(ctx, caller, n, minimum)
	}
	return decision
}

// Peek implements RateLimiter.
func (s *SharedLimiter) Peek(ctx context.Context, caller string) Decision {
	bounded, cancel := context.WithTimeout(ctx, takeWait)
	defer cancel()
	reply, err := s.limiter.AllowN(bounded, caller, s.rate, 0) // takes nothing
	if err != nil {
		s.warn(err)
		return s.local.Peek(ctx, caller)
	}
	return s.Rate().peeked(max(float64(s.rate.Burst)-s.Rate().tokens(reply.ResetAfter), 0))
}

// take is Take without the fallback. If fewer than n tokens remain, it asks again for the
// remaining ones. redis_rate's AllowAtMost would need one call only, but it discards the
// fraction of a token that is left, which at a steady rate is up to half of all tokens.
func (s *SharedLimiter) take(ctx context.Context, caller string, n, minimum int) (Decision, error) {
	var short Decision // the decision if too few tokens remain
	for want := n; ; {
		reply, err := s.limiter.AllowN(ctx, caller, s.rate, want)
		if err != nil {
			return Decision{}, err
		}
		if reply.Allowed > 0 {
			return Decision{Granted: want, Remaining: reply.Remaining, RetryAfter: short.RetryAfter, ResetAfter: reply.ResetAfter}, nil
		}
		left := int(max(float64(want)-s.Rate().tokens(reply.RetryAfter), 0))
		if want == n {
			short.RetryAfter = reply.RetryAfter
		}
		short.Remaining, short.ResetAfter = left, reply.ResetAfter
		if left < minimum || left >= want { // left >= want only by rounding
			return short, nil
		}
		want = left // fewer each time: other nodes take tokens meanwhile
	}
}

// warn logs err, at most once per warnEvery.
func (s *SharedLimiter) warn(err error) {
	now := time.Now().UnixNano()
	last := s.warned.Load()
	if now-last < int64(warnEvery) || !s.warned.CompareAndSwap(last, now) {
		return
	}
	s.logger.Warn("redis does not answer about a rate limit; this node counts for itself", "error", err)
}

// keyed replaces the prefix "rate:" in the keys of redis_rate's scripts. The new keys
// start like the log's keys, which the Redis user is already allowed to use.
type keyed struct {
	redis.UniversalClient
	prefix string
}

// Eval implements redis.Scripter.
func (k *keyed) Eval(ctx context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return k.UniversalClient.Eval(ctx, script, k.rename(keys), args...)
}

// EvalSha implements redis.Scripter.
func (k *keyed) EvalSha(ctx context.Context, hash string, keys []string, args ...any) *redis.Cmd {
	return k.UniversalClient.EvalSha(ctx, hash, k.rename(keys), args...)
}

func (k *keyed) rename(keys []string) []string {
	renamed := make([]string, len(keys))
	for i, key := range keys {
		renamed[i] = "{" + k.prefix + nameOf(key[len("rate:"):]) + "}"
	}
	return renamed
}
