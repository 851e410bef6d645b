package ws

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

// floodSeconds is the number of seconds for which a client may send at twice its limit
// before the session closes. Until then every refused message gets an answer, so that a
// publisher knows which events were not stored.
const floodSeconds = 5

// A messageLimiter limits the messages of one client: so many per second are served, and as
// many again are refused, each with an answer. A nil messageLimiter sets no limit.
type messageLimiter struct {
	perSecond       int
	served, refused *rate.Limiter
}

// newMessageLimiter returns nil for 0.
func newMessageLimiter(perSecond int) *messageLimiter {
	if perSecond == 0 {
		return nil
	}
	return &messageLimiter{
		perSecond: perSecond,
		served:    rate.NewLimiter(rate.Limit(perSecond), perSecond),
		refused:   rate.NewLimiter(rate.Limit(perSecond), floodSeconds*perSecond),
	}
}

// count counts a message. refuse means that it must be refused, flood that the session
// must close.
func (l *messageLimiter) count() (refuse, flood bool) {
	if l == nil || l.served.Allow() {
		return false, false
	}
	return true, !l.refused.Allow()
}

// err returns the error for a refused message.
func (l *messageLimiter) err() error {
	return &problem.RateError{
		Policy: "connection",
		Rate:   limits.Rate{Events: l.perSecond, Per: time.Second, Burst: l.perSecond},
		Wait:   time.Second / time.Duration(l.perSecond),
	}
}
