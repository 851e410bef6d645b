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
	// askWait bounds how long a bucket in Redis is waited for. A call takes well below a
	// millisecond; a publish that Redis keeps waiting has to wait for its own call too.
	askWait = 500 * time.Millisecond
	// complainEvery is how often the operator is told that Redis does not answer.
	complainEvery = time.Minute
)

// SharedLimiter buckets are in Redis, for all nodes that use the same Redis and prefix. While
// Redis does not answer each node counts for itself, in buckets that begin full: a
// caller who may publish is never refused for that.
//
// A bucket is one key, which lives until the bucket is full. It is the generic cell
// rate algorithm's: the time at which it will be (github.com/go-redis/redis_rate).
type SharedLimiter struct {
	limiter *redis_rate.Limiter
	rate    redis_rate.Limit
	local   *LocalLimiter // of this node, while Redis does not answer
	logger  *slog.Logger

	complained atomic.Int64 // when, in Unix nanoseconds
}

var _ RateLimiter = (*SharedLimiter)(nil)

// NewSharedLimiter returns buckets that are filled at r, in the Redis of client, which is
// not to repeat commands by itself. Their keys begin with prefix and name, in braces
// that have a Cluster spread them by their callers.
func NewSharedLimiter(client redis.UniversalClient, prefix, name string, r Rate, logger *slog.Logger) *SharedLimiter {
	return &SharedLimiter{
		limiter: redis_rate.NewLimiter(&keyed{UniversalClient: client, prefix: prefix + ":limit:" + name + ":"}),
		rate:    redis_rate.Limit{Rate: r.Events, Burst: r.Burst, Period: r.Per},
		local:   NewLocalLimiter(r),
		logger:  logger,
	}
}

// Rate implements Buckets.
func (s *SharedLimiter) Rate() Rate { return s.local.rate }

// Take implements Buckets.
func (s *SharedLimiter) Take(ctx context.Context, caller string, n, least int) Decision {
	asking, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	state, err := s.ask(asking, caller, n, least)
	if err != nil {
		s.complain(err)
		return s.local.Take(ctx, caller, n, least)
	}
	return state
}

// ask is Take where Redis answers. Where not all tokens are there it asks again, for
// those that are: redis_rate's AllowAtMost would do that in one call, and throw away the
// part of a token that is left, which at a steady rate is up to half of them.
func (s *SharedLimiter) ask(ctx context.Context, caller string, n, least int) (Decision, error) {
	var lacking Decision // what was said of all n
	for want := n; ; {
		said, err := s.limiter.AllowN(ctx, caller, s.rate, want)
		if err != nil {
			return Decision{}, err
		}
		if said.Allowed > 0 {
			return Decision{Granted: want, Remaining: said.Remaining, RetryAfter: lacking.RetryAfter, ResetAfter: said.ResetAfter}, nil
		}
		left := int(max(float64(want)-s.Rate().tokens(said.RetryAfter), 0))
		if want == n {
			lacking.RetryAfter = said.RetryAfter
		}
		lacking.Remaining, lacking.ResetAfter = left, said.ResetAfter
		if left < least || left >= want { // the latter could only be a rounding
			return lacking, nil
		}
		want = left // fewer each time, as others take them meanwhile
	}
}

// complain tells the operator, now and then, that Redis does not count.
func (s *SharedLimiter) complain(err error) {
	now := time.Now().UnixNano()
	last := s.complained.Load()
	if now-last < int64(complainEvery) || !s.complained.CompareAndSwap(last, now) {
		return
	}
	s.logger.Warn("redis does not answer about a rate; this node counts for itself", "error", err)
}

// A keyed client has redis_rate's scripts use keys that begin like the log's, which its
// user may use, in place of "rate:".
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
