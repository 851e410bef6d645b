package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

// The headers that report the rate limits (draft-ietf-httpapi-ratelimit-headers-11).
const (
	headerRateLimit       = "RateLimit"
	headerRateLimitPolicy = "RateLimit-Policy"
)

// The names of the policies in these headers.
const (
	policyPublisher     = "publisher"
	policyAddress       = "address"
	policyReader        = "reader"
	policyReaderAddress = "reader-address"
)

// rateLimits are the limits on published events and on reads: history requests and rooms
// that clients begin to follow.
type rateLimits struct {
	// Each pair is by user or key, and by client address; nil for no limit.
	publisher, address    limits.RateLimiter // of published events
	reader, readerAddress limits.RateLimiter // of reads

	newRooms *newRoomLimit // of rooms that a user or key creates; nil for no limit
	proxies  clientip.Proxies
	metrics  *metrics
}

// A caller is the sender of a request or message, as the rate limits count it.
type caller struct {
	via     string // the transport in the metrics of publishes
	subject string // the user or key
	address string // the network; "" if addresses are not counted

	// each means that the events are independent: those within the limits are published
	// and the others are not. Otherwise all are published or none.
	each bool
}

// callerOf returns the sender of r, which has grant g.
func (l *rateLimits) callerOf(r *http.Request, g *access.Grant) caller {
	return caller{via: viaREST, subject: l.subjectOf(g), address: l.addressOf(r)}
}

// addressOf returns the network by which the sender of r is counted; "" if addresses are not
// counted.
func (l *rateLimits) addressOf(r *http.Request) string {
	if l.address == nil && l.readerAddress == nil {
		return ""
	}
	client := l.proxies.Client(r)
	if !client.IsValid() {
		return clientip.UnixSocket
	}
	return limits.NetworkOf(client).String()
}

// subjectOf returns the name by which the holder of a grant is counted, distinct for users
// and keys; "" if they are not counted. Tokens without a user share the name "".
func (l *rateLimits) subjectOf(g *access.Grant) string {
	if l.publisher == nil && l.reader == nil && l.newRooms == nil {
		return ""
	}
	if user := g.User(); user != "" {
		return "user " + user
	}
	return g.Holder() // "key …", or "anyone" without authentication
}

// A rateDecision is the answer of one rate limit.
type rateDecision struct {
	policy string
	rate   limits.Rate
	limits.Decision
}

// A rateLimit is one limit, applied to one caller.
type rateLimit struct {
	limits.RateLimiter
	policy, caller string
	metric         string
}

// error returns the error of a decision that refuses.
func (d rateDecision) error() *problem.RateError {
	return &problem.RateError{Policy: d.policy, Rate: d.rate, Wait: d.RetryAfter}
}

// limitsOf returns the limits on the publishes of who. The address comes first: a client that
// floods from one address must not use up the rate of others with the same key.
func (l *rateLimits) limitsOf(who caller) (applied []rateLimit) {
	if l.address != nil {
		applied = append(applied, rateLimit{l.address, policyAddress, who.address, limitRateAddress})
	}
	if l.publisher != nil {
		applied = append(applied, rateLimit{l.publisher, policyPublisher, who.subject, limitRate})
	}
	return applied
}

// readLimitsOf is limitsOf for the reads of who.
func (l *rateLimits) readLimitsOf(who caller) (applied []rateLimit) {
	if l.readerAddress != nil {
		applied = append(applied, rateLimit{l.readerAddress, policyReaderAddress, who.address, limitReadRateAddress})
	}
	if l.reader != nil {
		applied = append(applied, rateLimit{l.reader, policyReader, who.subject, limitReadRate})
	}
	return applied
}

// takeReads takes tokens for n reads, all or none. If n exceeds the burst of a limit, it takes
// the whole burst, because a client must be able to follow its rooms. err is nil or a
// problem.RateError.
func (l *rateLimits) takeReads(ctx context.Context, who caller, n int) (decisions []rateDecision, err error) {
	for _, r := range l.readLimitsOf(who) {
		want := min(n, r.Rate().Burst)
		d := rateDecision{r.policy, r.Rate(), r.Take(ctx, r.caller, want, want)}
		decisions = append(decisions, d)
		if d.Granted < want {
			l.metrics.hit(r.metric, want)
			return decisions, d.error()
		}
	}
	return decisions, nil
}

// peek returns a problem.RateError if who may not publish a single event now. It takes no
// tokens.
func (l *rateLimits) peek(ctx context.Context, who caller) (decisions []rateDecision, err error) {
	for _, r := range l.limitsOf(who) {
		d := rateDecision{r.policy, r.Rate(), r.Peek(ctx, r.caller)}
		decisions = append(decisions, d)
		if d.Remaining == 0 {
			l.metrics.hit(r.metric, 1)
			return decisions, d.error()
		}
	}
	return decisions, nil
}

// take takes tokens for n events. It returns how many of the first events may be published.
// If that is not all of them, err is a problem.RateError with the longest wait, or refuses
// more events than a limit ever allows at once. Tokens stay spent even if the publish fails.
func (l *rateLimits) take(ctx context.Context, who caller, n int) (granted int, decisions []rateDecision, err error) {
	applied := l.limitsOf(who)
	for _, r := range applied {
		if burst := r.Rate().Burst; n > burst && !who.each {
			return 0, nil, fmt.Errorf("%w: %d events, want at most %d at once per %s", problem.ErrBatchTooLarge, n, burst, r.policy)
		}
	}
	var over *problem.RateError
	for _, r := range applied {
		if n == 0 {
			break
		}
		least := n
		if who.each {
			least = 1
		}
		d := rateDecision{r.policy, r.Rate(), r.Take(ctx, r.caller, n, least)}
		decisions = append(decisions, d)
		if d.Granted < n {
			l.metrics.hit(r.metric, n-d.Granted)
			n = d.Granted
			if over == nil || over.Wait < d.RetryAfter {
				over = d.error()
			}
		}
	}
	if over == nil {
		return n, decisions, nil
	}
	return n, decisions, over
}

// setRateHeaders reports decisions in a response's header: for each policy its burst and
// window, and how many tokens remain and when the limit is full again. A limit that refused
// reports instead when tokens are available, like Retry-After. The limit before it reports
// nothing, because Retry-After must not be earlier than its report.
func setRateHeaders(h http.Header, decisions []rateDecision) {
	for i, d := range decisions {
		h.Add(headerRateLimitPolicy, fmt.Sprintf("%q;q=%d;w=%d", d.policy, d.rate.Burst, problem.WholeSeconds(d.rate.Window(), 1)))
		full := d.ResetAfter
		if d.RetryAfter > 0 {
			full = d.RetryAfter
		} else if i+1 < len(decisions) && decisions[i+1].RetryAfter > 0 {
			continue
		}
		h.Add(headerRateLimit, fmt.Sprintf("%q;r=%d;t=%d", d.policy, d.Remaining, problem.WholeSeconds(full, 0)))
	}
}
