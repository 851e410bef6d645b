package api

import (
	"context"
	"errors"
	"sync"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// A newRoomLimit limits the rooms that each user or key creates. Only the log knows whether
// a room exists. So the limit decides before a publish which drafts may create a room, and
// spends a token for each new room afterwards. A nil newRoomLimit allows every room.
type newRoomLimit struct {
	// Fixed by newNewRoomLimit.
	limiter limits.RateLimiter
	metrics *metrics

	mu sync.Mutex // guards reserved

	// reserved has the tokens that each caller's publishes in progress may spend, so that
	// many at once do not spend the same ones. Counts of zero are deleted.
	reserved map[string]int
}

// newNewRoomLimit returns nil for a nil limiter.
func newNewRoomLimit(l limits.RateLimiter, m *metrics) *newRoomLimit {
	if l == nil {
		return nil
	}
	return &newRoomLimit{limiter: l, metrics: m, reserved: make(map[string]int)}
}

// A reservation is the right of one publish to create rooms.
type reservation struct {
	caller string
	rooms  int
	limits.Decision
}

// reserve marks the drafts of caller that must not create a room. The caller must settle
// the reservation.
func (l *newRoomLimit) reserve(ctx context.Context, caller string, drafts []streams.Draft) reservation {
	if l == nil {
		return reservation{}
	}
	r := reservation{caller: caller, Decision: l.limiter.Peek(ctx, caller)}
	l.mu.Lock()
	r.rooms = max(min(r.Remaining-l.reserved[caller], len(drafts)), 0)
	if r.rooms > 0 {
		l.reserved[caller] += r.rooms
	}
	l.mu.Unlock()
	if r.rooms == len(drafts) {
		return r
	}
	may := make(map[streams.Room]bool, r.rooms) // the rooms that the drafts may create
	for i := range drafts {
		switch room := drafts[i].Room; {
		case may[room]:
		case len(may) < r.rooms:
			may[room] = true
		default:
			drafts[i].ExistingRoom = true
		}
	}
	return r
}

// settle spends a token for each room that the publish has created, and ends the
// reservation. It tells the client why a draft was refused because its room is new.
func (l *newRoomLimit) settle(ctx context.Context, r reservation, receipts []streams.Receipt) {
	if l == nil {
		return
	}
	created, refused := 0, 0
	for i := range receipts {
		switch {
		case receipts[i].NewRoom:
			created++
		case errors.Is(receipts[i].Err, streams.ErrNewRoom):
			refused++
			receipts[i].Err = &problem.RateError{
				Reason: problem.ErrTooManyNewRooms, Policy: policyPublisher, Rate: l.limiter.Rate(), Wait: r.RetryAfter,
			}
		}
	}
	if created > 0 { // the rooms exist, so the tokens are spent even if ctx has ended
		l.limiter.Take(context.WithoutCancel(ctx), r.caller, created, 1)
	}
	if refused > 0 {
		l.metrics.hit(limitNewRooms, refused)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reserved[r.caller] -= r.rooms; l.reserved[r.caller] == 0 {
		delete(l.reserved, r.caller)
	}
}
