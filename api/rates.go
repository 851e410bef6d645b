package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// The fields by which a publisher is told of the rates (draft-ietf-httpapi-ratelimit-
// headers-11).
const (
	headerRateLimit       = "RateLimit"
	headerRateLimitPolicy = "RateLimit-Policy"
)

// What the policies are called in them.
const (
	policyPublisher = "publisher"
	policyAddress   = "address"
)

// A publisher is who publishes, as the rates count it.
type publisher struct {
	via     string // a transport, as metrics name it
	subject string // the credential's user, or the key
	address string // the network; "" where addresses are not counted

	// each means that each event is published for itself: those for which there is room
	// are, and the others not. Otherwise it is all or none.
	each bool
}

// publisherOf returns who published r with grant g.
func (s *Server) publisherOf(r *http.Request, g *access.Grant) publisher {
	return publisher{via: viaREST, subject: s.subjectOf(g), address: s.addressOf(r)}
}

// addressOf returns what the sender of r is counted by; "" where addresses are not.
func (s *Server) addressOf(r *http.Request) string {
	if s.opts.AddressRate == nil {
		return ""
	}
	client := s.proxies.Client(r)
	if !client.IsValid() {
		return clientip.UnixSocket
	}
	return limits.NetworkOf(client).String()
}

// subjectOf names whom a grant is for, so that no user's name is a key's; "" where that
// is not counted.
func (s *Server) subjectOf(g *access.Grant) string {
	if s.opts.PublishRate == nil {
		return ""
	}
	if user := g.User(); user != "" {
		return "user " + user
	}
	return g.Holder() // "key …"; "anyone" where nobody is asked; "" for all tokens without a user
}

// A quota is what one rate had to say to a publish.
type quota struct {
	policy string
	rate   limits.Rate
	limits.Decision
}

// A ration is one rate, and who is counted by it.
type ration struct {
	limits.RateLimiter
	policy, caller string
	metric         string
}

// rationsOf returns what p's publishes are counted by. The address comes before the key
// or user: whoever floods from one address does not take from what others with the same
// key may publish.
func (s *Server) rationsOf(p publisher) (rations []ration) {
	if s.opts.AddressRate != nil {
		rations = append(rations, ration{s.opts.AddressRate, policyAddress, p.address, limitRateAddress})
	}
	if s.opts.PublishRate != nil {
		rations = append(rations, ration{s.opts.PublishRate, policyPublisher, p.subject, limitRate})
	}
	return rations
}

// ration asks the rates whether p may publish n events now, and counts them. It returns
// how many may be: the first ones, where p has each for itself. Where that is not all, err
// says why, with the longest wait if there are two reasons. Whatever is not published later, for whatever reason, has been counted.
func (s *Server) ration(ctx context.Context, p publisher, n int) (admitted int, told []quota, err error) {
	rations := s.rationsOf(p)
	for _, r := range rations {
		if most := r.Rate().Burst; n > most && !p.each {
			return 0, nil, fmt.Errorf("%w: %d events, and at most %d of one %s may be published at once", problem.ErrBatchTooLarge, n, most, r.policy)
		}
	}
	var over *problem.RateError
	for _, r := range rations {
		if n == 0 {
			break
		}
		least := n
		if p.each {
			least = 1
		}
		q := quota{r.policy, r.Rate(), r.Take(ctx, r.caller, n, least)}
		told = append(told, q)
		if q.Granted < n {
			s.metrics.hit(r.metric, n-q.Granted)
			n = q.Granted
			if over == nil || over.Wait < q.RetryAfter {
				over = &problem.RateError{Policy: r.policy, Rate: q.rate, Wait: q.RetryAfter}
			}
		}
	}
	if over == nil {
		return n, told, nil
	}
	return n, told, over
}

// tell puts what the rates had to say into a response's header: the policies, as what
// an empty bucket is filled with in which time; and of each bucket how much it has and
// when it is full. The one that refused says when there is room, as Retry-After does, and
// the others nothing, for Retry-After should not be earlier than what they would say.
func tell(h http.Header, told []quota) {
	for i, q := range told {
		h.Add(headerRateLimitPolicy, fmt.Sprintf("%q;q=%d;w=%d", q.policy, q.rate.Burst, problem.WholeSeconds(q.rate.Window(), 1)))
		full := q.ResetAfter
		if q.RetryAfter > 0 {
			full = q.RetryAfter
		} else if i+1 < len(told) && told[i+1].RetryAfter > 0 {
			continue
		}
		h.Add(headerRateLimit, fmt.Sprintf("%q;r=%d;t=%d", q.policy, q.Remaining, problem.WholeSeconds(full, 0)))
	}
}

// refusedReceipts are for n drafts that were not published, for the reason err.
func refusedReceipts(n int, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, n)
	for i := range receipts {
		receipts[i].Err = err
	}
	return receipts
}
