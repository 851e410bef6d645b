package limits

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxCallers bounds the buckets of a node, at 200 to 300 bytes each. If more callers
	// are active at once, a random half of them start again with full buckets.
	maxCallers = 1 << 16
	// minSweep is the number of buckets below which a sweep is not worth its time.
	minSweep = 1 << 10
)

// A LocalLimiter is a RateLimiter in this node's memory. It keeps at most 65,536 buckets.
// If more callers are active at once, half of them start again with full buckets.
type LocalLimiter struct {
	rate Rate // fixed by NewLocalLimiter

	mu      sync.Mutex               // guards the fields below
	buckets map[string]*rate.Limiter // by caller
	sweepAt int                      // number of buckets that causes the next sweep
}

var _ RateLimiter = (*LocalLimiter)(nil)

// NewLocalLimiter returns a LocalLimiter with the rate r, which must not be zero.
func NewLocalLimiter(r Rate) *LocalLimiter {
	return &LocalLimiter{rate: r, buckets: make(map[string]*rate.Limiter), sweepAt: minSweep}
}

// Rate implements RateLimiter.
func (l *LocalLimiter) Rate() Rate { return l.rate }

// Take implements RateLimiter. It does not use its context.
func (l *LocalLimiter) Take(_ context.Context, caller string, n, minimum int) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.bucketLocked(nameOf(caller), now)
	taken := n
	if !b.AllowN(now, n) {
		taken = min(int(b.TokensAt(now)), n)
		if taken < minimum || !b.AllowN(now, taken) {
			taken = 0
		}
	}
	left := max(b.TokensAt(now), 0)
	d := Decision{Granted: taken, Remaining: int(left), ResetAfter: l.rate.after(float64(l.rate.Burst) - left)}
	if taken < n {
		d.RetryAfter = l.rate.after(float64(n-taken) - left)
	}
	return d
}

// Peek implements RateLimiter. It creates no bucket.
func (l *LocalLimiter) Peek(_ context.Context, caller string) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	left := float64(l.rate.Burst)
	if b := l.buckets[nameOf(caller)]; b != nil {
		left = max(b.TokensAt(time.Now()), 0)
	}
	return l.rate.peeked(left)
}

// bucketLocked returns the bucket of caller, and creates a full one if necessary. l.mu
// must be held.
func (l *LocalLimiter) bucketLocked(caller string, now time.Time) *rate.Limiter {
	if b := l.buckets[caller]; b != nil {
		return b
	}
	if len(l.buckets) >= l.sweepAt {
		l.sweepLocked(now)
	}
	b := rate.NewLimiter(rate.Limit(l.rate.Events)/rate.Limit(l.rate.Per.Seconds()), l.rate.Burst)
	l.buckets[caller] = b
	return b
}

// sweepLocked drops full buckets, because a new bucket is full too. It also drops other
// buckets beyond half of maxCallers. l.mu must be held.
//
// The next sweep comes when the number of buckets has doubled. So the cost per created
// bucket is constant: a sweep of two.
func (l *LocalLimiter) sweepLocked(now time.Time) {
	kept := make(map[string]*rate.Limiter) // a new map, because a map never shrinks
	for caller, b := range l.buckets {
		if b.TokensAt(now) < float64(l.rate.Burst) && len(kept) < maxCallers/2 {
			kept[caller] = b
		}
	}
	l.buckets = kept
	l.sweepAt = max(2*len(kept), minSweep)
}
