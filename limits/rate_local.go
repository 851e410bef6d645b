package limits

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// maxCallers bounds the buckets of a node, at 200 to 300 bytes each. If so many
	// callers are busy at once, half of them, whichever, begin again with full ones.
	maxCallers = 1 << 16
	// fewCallers is below what it is worth while to look for buckets that nobody needs.
	fewCallers = 1 << 10
)

// LocalLimiter buckets are of one node alone, in its memory.
type LocalLimiter struct {
	rate Rate // fixed by NewLocal

	mu      sync.Mutex // guards the fields below
	buckets map[string]*rate.Limiter
	sweepAt int // how many buckets there are when it is time to forget some
}

var _ RateLimiter = (*LocalLimiter)(nil)

// NewLocalLimiter returns buckets that are filled at r.
func NewLocalLimiter(r Rate) *LocalLimiter {
	return &LocalLimiter{rate: r, buckets: make(map[string]*rate.Limiter), sweepAt: fewCallers}
}

// Rate implements Buckets.
func (l *LocalLimiter) Rate() Rate { return l.rate }

// Take implements Buckets.
func (l *LocalLimiter) Take(_ context.Context, caller string, n, least int) Decision {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	b := l.bucketLocked(nameOf(caller), now)
	taken := n
	if !b.AllowN(now, n) {
		taken = min(int(b.TokensAt(now)), n)
		if taken < least || !b.AllowN(now, taken) {
			taken = 0
		}
	}
	left := max(b.TokensAt(now), 0)
	s := Decision{Granted: taken, Remaining: int(left), ResetAfter: l.rate.after(float64(l.rate.Burst) - left)}
	if taken < n {
		s.RetryAfter = l.rate.after(float64(n-taken) - left)
	}
	return s
}

// bucketLocked returns the caller's bucket. The caller of this must hold l.mu.
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

// sweepLocked forgets the buckets that are full, for that is what new ones are too, and
// others so far as there are too many. The caller must hold l.mu.
//
// The next sweep comes when there are twice as many as it leaves: so a bucket that is
// made pays for looking at two.
func (l *LocalLimiter) sweepLocked(now time.Time) {
	kept := make(map[string]*rate.Limiter) // a map that was large stays so
	for caller, b := range l.buckets {
		if b.TokensAt(now) < float64(l.rate.Burst) && len(kept) < maxCallers/2 {
			kept[caller] = b
		}
	}
	l.buckets = kept
	l.sweepAt = max(2*len(kept), fewCallers)
}
