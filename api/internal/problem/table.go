package problem

import (
	"errors"
	"net/http"
	"slices"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A Kind is one kind of problem. Several kinds may share a code.
type Kind struct {
	Code   string // stable; programs decide by it
	Title  string
	Status int // of HTTP

	err        error
	expected   bool   // not a failure, although the status says so: the node or its limits mean it
	hidden     bool   // the client sees the text of err alone: the details may tell of internals
	retryAfter int    // seconds; 0 means that waiting does not help
	challenge  string // WWW-Authenticate; "" for none
}

// The challenges to a request with no credential, and with one that was not accepted
// (RFC 6750, section 3).
const (
	challengeNone    = `Bearer realm="tidemark"`
	challengeInvalid = `Bearer realm="tidemark", error="invalid_token"`
)

// kinds is the only place where an error becomes an answer. The first kind whose err
// matches is used; the last one is for every other error.
var kinds = []Kind{
	{err: streams.ErrRoom, Status: http.StatusBadRequest, Code: "room-invalid", Title: "Invalid room name"},
	{err: streams.ErrType, Status: http.StatusBadRequest, Code: "type-invalid", Title: "Invalid event type"},
	{err: streams.ErrKey, Status: http.StatusBadRequest, Code: "key-invalid", Title: "Invalid idempotency key"},
	{err: streams.ErrID, Status: http.StatusBadRequest, Code: "cursor-invalid", Title: "Invalid position"},
	{err: streams.ErrData, Status: http.StatusBadRequest, Code: "data-invalid", Title: "Invalid event data"},
	{err: streams.ErrTooDeep, Status: http.StatusBadRequest, Code: "data-too-deep", Title: "Event data nested too deep"},
	{err: streams.ErrTooBig, Status: http.StatusRequestEntityTooLarge, Code: "data-too-large", Title: "Event data too large"},
	{err: ErrBody, Status: http.StatusBadRequest, Code: "body-invalid", Title: "Invalid body"},
	{err: ErrBodyTooLarge, Status: http.StatusRequestEntityTooLarge, Code: "body-too-large", Title: "Body too large"},
	{err: ErrBatchTooLarge, Status: http.StatusRequestEntityTooLarge, Code: "batch-too-large", Title: "Batch too large"},
	{err: ErrMediaType, Status: http.StatusUnsupportedMediaType, Code: "media-type-unsupported", Title: "Unsupported media type"},
	{err: ErrMessage, Status: http.StatusBadRequest, Code: "message-invalid", Title: "Invalid message"},
	{err: ErrHeader, Status: http.StatusRequestHeaderFieldsTooLarge, Code: "header-too-large", Title: "Headers too large"},
	{err: ErrAccept, Status: http.StatusNotAcceptable, Code: "not-acceptable", Title: "Not acceptable"},
	{err: ErrLast, Status: http.StatusBadRequest, Code: "last-invalid", Title: "Invalid number of events"},
	{err: ErrLimit, Status: http.StatusBadRequest, Code: "limit-invalid", Title: "Invalid page size"},
	{err: ErrOrder, Status: http.StatusBadRequest, Code: "order-invalid", Title: "Invalid order"},
	{err: ErrTooManyRooms, Status: http.StatusBadRequest, Code: "too-many-rooms", Title: "Too many rooms"},
	{err: ErrNotFound, Status: http.StatusNotFound, Code: "not-found", Title: "Not found"},
	{err: ErrMethod, Status: http.StatusMethodNotAllowed, Code: "method-not-allowed", Title: "Method not allowed"},
	{err: ErrUpgrade, Status: http.StatusUpgradeRequired, Code: "upgrade-required", Title: "Upgrade required"},
	{err: ErrHandshake, Status: http.StatusBadRequest, Code: "handshake-invalid", Title: "Invalid WebSocket handshake"},
	{err: ErrOrigin, Status: http.StatusForbidden, Code: "origin-forbidden", Title: "Forbidden origin"},
	{err: ErrSubprotocol, Status: http.StatusBadRequest, Code: "subprotocol-unsupported", Title: "Unsupported subprotocol"},
	{err: ErrUnauthorized, Status: http.StatusUnauthorized, Code: "unauthorized", Title: "Unauthorized", challenge: challengeNone},
	{err: access.ErrCredential, Status: http.StatusUnauthorized, Code: "unauthorized", Title: "Unauthorized", challenge: challengeInvalid},
	{err: access.ErrUnavailable, Status: http.StatusServiceUnavailable, Code: "auth-unavailable", Title: "Tokens cannot be verified now", hidden: true, retryAfter: 2, expected: true},
	{err: ErrRateLimited, Status: http.StatusTooManyRequests, Code: "rate-limited", Title: "Rate limit exceeded", retryAfter: 1},
	{err: ErrTooManyNewRooms, Status: http.StatusTooManyRequests, Code: "too-many-new-rooms", Title: "Too many new rooms", retryAfter: 1},
	{err: ErrForbidden, Status: http.StatusForbidden, Code: "forbidden", Title: "Forbidden"},
	{err: ErrExpired, Status: http.StatusUnauthorized, Code: "token-expired", Title: "Token expired", challenge: challengeInvalid},
	{err: ErrExpiring, Status: http.StatusUnauthorized, Code: "token-expiring", Title: "Token about to expire", challenge: challengeInvalid},
	{err: ErrFollowed, Status: http.StatusConflict, Code: "already-subscribed", Title: "Already subscribed"},
	{err: ErrNotFollowed, Status: http.StatusConflict, Code: "not-subscribed", Title: "Not subscribed"},
	{err: streams.ErrKeyReused, Status: http.StatusUnprocessableEntity, Code: "key-reused", Title: "Idempotency key used with different content", hidden: true},
	{err: streams.ErrDurability, Status: http.StatusBadRequest, Code: "durability-unsupported", Title: "Unsupported durability"},
	{err: streams.ErrNotDurable, Status: http.StatusServiceUnavailable, Code: "not-durable", Title: "Logged, but not as durable as requested", hidden: true, retryAfter: 2},
	{err: streams.ErrRefused, Status: http.StatusServiceUnavailable, Code: "log-refused", Title: "The log refused the event", hidden: true},
	{err: streams.ErrUnavailable, Status: http.StatusServiceUnavailable, Code: "log-unavailable", Title: "The log is unavailable", hidden: true, retryAfter: 2},
	{err: streams.ErrClosed, Status: http.StatusServiceUnavailable, Code: "draining", Title: "The node is shutting down", hidden: true, retryAfter: 1},
	{err: limits.ErrNodeFull, Status: http.StatusServiceUnavailable, Code: "node-full", Title: "The node is full", retryAfter: 5, expected: true},
	{err: service.ErrRoomsFull, Status: http.StatusServiceUnavailable, Code: "node-full", Title: "The node is full", retryAfter: 5, expected: true},
	{err: limits.ErrAddressFull, Status: http.StatusTooManyRequests, Code: "too-many-connections", Title: "Too many connections", retryAfter: 10},
	{err: limits.ErrUserFull, Status: http.StatusTooManyRequests, Code: "too-many-connections", Title: "Too many connections", retryAfter: 10},
	{err: ErrOverloaded, Status: http.StatusServiceUnavailable, Code: "overloaded", Title: "The node is out of memory for requests", retryAfter: 1, expected: true},
	{err: service.ErrBusy, Status: http.StatusServiceUnavailable, Code: "overloaded", Title: "The node is out of memory for requests", retryAfter: 1, expected: true},
	{err: ErrStreams, Status: http.StatusTooManyRequests, Code: "too-many-requests", Title: "Too many requests at once", retryAfter: 1},
	{err: ErrDraining, Status: http.StatusServiceUnavailable, Code: "draining", Title: "The node is shutting down", retryAfter: 1, expected: true},
	{err: ErrInternal, Status: http.StatusInternalServerError, Code: "internal", Title: "Internal error", hidden: true},
}

// Kinds returns every kind of problem.
func Kinds() []Kind { return slices.Clone(kinds) }

// KindOf returns the kind of problem that err is.
func KindOf(err error) *Kind {
	for i := range kinds {
		if errors.Is(err, kinds[i].err) {
			return &kinds[i]
		}
	}
	return &kinds[len(kinds)-1]
}

// CodeOf returns the code of the problem that err is.
func CodeOf(err error) string { return KindOf(err).Code }
