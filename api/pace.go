package api

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

// patientFor is for how many seconds a client may send twice what it may before its
// connection is closed. Meanwhile each message that is too much gets its answer, so that a
// publisher knows what was not stored.
const patientFor = 5

// A pace is how fast a socket's client may talk: so many messages a second are served,
// and as many again refused, each with an answer. nil is no limit.
type pace struct {
	perSecond       int
	served, refused *rate.Limiter
}

// newPace returns nil for 0.
func newPace(perSecond int) *pace {
	if perSecond == 0 {
		return nil
	}
	return &pace{
		perSecond: perSecond,
		served:    rate.NewLimiter(rate.Limit(perSecond), perSecond),
		refused:   rate.NewLimiter(rate.Limit(perSecond), patientFor*perSecond),
	}
}

// count counts a message. tooFast says that it is to be refused, flood that the
// client is not listened to any longer.
func (p *pace) count() (tooFast, flood bool) {
	if p == nil || p.served.Allow() {
		return false, false
	}
	return true, !p.refused.Allow()
}

// err is what the client is told of a message that was too much.
func (p *pace) err() error {
	r := limits.Rate{Events: p.perSecond, Per: time.Second, Burst: p.perSecond}
	return &problem.RateError{Policy: "connection", Rate: r, Wait: time.Second / time.Duration(p.perSecond)}
}
