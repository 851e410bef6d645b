package problem

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// The errors that the HTTP edge itself reports. The text that follows one when it is
// wrapped gives the details. Clients see both, unless the table hides the details.
var (
	ErrBody          = errors.New("the body is invalid")
	ErrBodyTooLarge  = errors.New("the body is too large")
	ErrMediaType     = errors.New("the Content-Type of the body is not JSON")
	ErrBatchTooLarge = errors.New("the batch has too many events")
	ErrMessage       = errors.New("the message is invalid")
	ErrHeader        = errors.New("the request line and headers are too long")
	ErrAccept        = errors.New("the Accept header allows no available representation")
	ErrLast          = errors.New("not a number of newest events")
	ErrLimit         = errors.New("not a page size")
	ErrOrder         = errors.New("not an order")
	ErrTooManyRooms  = errors.New("too many rooms for one connection")
	ErrNotFound      = errors.New("no resource exists at this address")
	ErrMethod        = errors.New("this address does not support the method")
	ErrUpgrade       = errors.New("this address speaks WebSocket only")
	ErrHandshake     = errors.New("the WebSocket handshake is invalid")
	ErrOrigin        = errors.New("pages of this origin may not connect")
	ErrSubprotocol   = errors.New("the server supports none of the offered subprotocols")
	ErrFollowed      = errors.New("this connection already follows the room")
	ErrNotFollowed   = errors.New("this connection does not follow the room")
	ErrUnauthorized  = errors.New("the request carries no credential: send a token or an API key")
	ErrForbidden     = errors.New("the token or key does not allow this")
	ErrExpired       = errors.New("the token has expired: connect with a new one")
	ErrExpiring      = errors.New("the token is about to expire: send a new one with the op auth")
	ErrRateLimited   = errors.New("too many events, messages or reads in too short a time")
	ErrOverloaded    = errors.New("this node has too little memory for the requests that wait")
	ErrStreams       = errors.New("too many requests at once on a connection that has shown no valid credential")
	ErrDraining      = errors.New("this node is shutting down: connect again to reach another node")

	// ErrTooManyNewRooms refuses an event because its room does not exist and the caller has
	// created too many.
	ErrTooManyNewRooms = errors.New("the room is new, and too many new rooms were created in too short a time")

	ErrInternal = errors.New("the server failed to handle the request; the request may be correct")
)

// A NotDurableError reports an event that is in the log, but did not reach the requested
// durability. Err wraps streams.ErrNotDurable. The client is told the event's id.
type NotDurableError struct {
	Err error
	ID  streams.ID
}

func (e *NotDurableError) Error() string { return e.Err.Error() }
func (e *NotDurableError) Unwrap() error { return e.Err }

// OfReceipt returns the error of a receipt. An event that was logged without reaching the
// requested durability becomes a NotDurableError.
func OfReceipt(r streams.Receipt) error {
	if errors.Is(r.Err, streams.ErrNotDurable) {
		return &NotDurableError{r.Err, r.ID}
	}
	return r.Err
}

// A RateError reports events, messages or reads that were refused because a rate limit is
// exhausted. It wraps its Reason.
type RateError struct {
	Reason error  // ErrRateLimited or ErrTooManyNewRooms; nil means ErrRateLimited
	Policy string // what the rate is counted by, such as "publisher" or "connection"
	Rate   limits.Rate
	Wait   time.Duration // until a repeat can succeed
}

func (e *RateError) Error() string {
	return fmt.Sprintf("%v: at most %v per %s; retry after %d s", e.Unwrap(), e.Rate, e.Policy, WholeSeconds(e.Wait, 1))
}

func (e *RateError) Unwrap() error {
	if e.Reason == nil {
		return ErrRateLimited
	}
	return e.Reason
}

// WholeSeconds rounds d up to whole seconds, as Retry-After has them, and to at least least.
func WholeSeconds(d time.Duration, least int) int {
	return max(int((d+time.Second-1)/time.Second), least)
}

// AuthorizeAny is Authorize for any room: it refuses callers that Authorize would refuse for
// every room.
func AuthorizeAny(g *access.Grant, action access.Action) error {
	switch {
	case g.AllowsAny(action):
		return nil
	case g != nil && g.Expired():
		return ErrExpired
	}
	return fmt.Errorf("%w: %v in any room", ErrForbidden, action)
}

// Authorize returns nil if g allows action on room. Otherwise it returns ErrExpired or
// ErrForbidden. Every operation that reads or publishes events calls it.
func Authorize(g *access.Grant, action access.Action, room streams.Room) error {
	switch {
	case g.Allows(action, room):
		return nil
	case g != nil && g.Expired():
		return ErrExpired
	}
	return fmt.Errorf("%w: %v %s", ErrForbidden, action, room)
}
