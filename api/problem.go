package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

// What the edge itself finds wrong. The text that follows one says what exactly,
// in words meant for the client.
var (
	errBody          = errors.New("the body is not as it should be")
	errBodyTooLarge  = errors.New("the body is too large")
	errMediaType     = errors.New("the body is not JSON by its Content-Type")
	errBatchTooLarge = errors.New("the batch has too many events")
	errMessage       = errors.New("the message is not as it should be")
	errHeader        = errors.New("the headers are too long")
	errAccept        = errors.New("no representation is acceptable")
	errLast          = errors.New("not a number of newest events")
	errLimit         = errors.New("not a page size")
	errOrder         = errors.New("not an order")
	errTooManyRooms  = errors.New("too many rooms for one connection")
	errNotFound      = errors.New("there is nothing at this address")
	errMethod        = errors.New("this address does not answer to that method")
	errUpgrade       = errors.New("this address speaks WebSocket only")
	errHandshake     = errors.New("the WebSocket handshake is not as it should be")
	errOrigin        = errors.New("pages of that origin may not connect")
	errSubprotocol   = errors.New("none of the subprotocols offered is spoken here")
	errFollowed      = errors.New("this connection follows the room already")
	errNotFollowed   = errors.New("this connection does not follow the room")
	errUnauthorized  = errors.New("who asks is not known: a token or a key is needed")
	errForbidden     = errors.New("the token or key does not allow it")
	errExpired       = errors.New("the token has expired: connect with a new one")
	errExpiring      = errors.New("the token is about to expire: send a new one with the op auth")
	errDraining      = errors.New("the node is going away: another one answers")
	errInternal      = errors.New("something went wrong here, not with the request")
)

// A problem is an RFC 9457 problem document.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code"` // stable: what programs decide by

	// ID is that of the event which is logged all the same.
	ID *streams.ID `json:"id,omitempty"`

	retryAfter int
	challenge  string
}

// A kind of problem: which errors it is for, and what a client is told.
type kind struct {
	err    error
	status int
	code   string
	title  string

	// vague hides the error's text, which may tell of internals, behind the
	// text of err alone.
	vague      bool
	retryAfter int    // seconds; 0 means that waiting does not help
	challenge  string // WWW-Authenticate; "" for none
}

// The challenges to somebody who shows no credential, or one that is no good (RFC 6750, 3).
const (
	challengeNone    = `Bearer realm="tidemark"`
	challengeInvalid = `Bearer realm="tidemark", error="invalid_token"`
)

// kinds is the only place where an error becomes an answer. The last one is for
// whatever is not named.
var kinds = []kind{
	{err: streams.ErrRoom, status: http.StatusBadRequest, code: "room-invalid", title: "Invalid room name"},
	{err: streams.ErrType, status: http.StatusBadRequest, code: "type-invalid", title: "Invalid event type"},
	{err: streams.ErrKey, status: http.StatusBadRequest, code: "key-invalid", title: "Invalid idempotency key"},
	{err: streams.ErrID, status: http.StatusBadRequest, code: "cursor-invalid", title: "Invalid position"},
	{err: streams.ErrData, status: http.StatusBadRequest, code: "data-invalid", title: "Invalid event data"},
	{err: streams.ErrTooDeep, status: http.StatusBadRequest, code: "data-too-deep", title: "Event data nested too deep"},
	{err: streams.ErrTooBig, status: http.StatusRequestEntityTooLarge, code: "data-too-large", title: "Event data too large"},
	{err: errBody, status: http.StatusBadRequest, code: "body-invalid", title: "Invalid body"},
	{err: errBodyTooLarge, status: http.StatusRequestEntityTooLarge, code: "body-too-large", title: "Body too large"},
	{err: errBatchTooLarge, status: http.StatusRequestEntityTooLarge, code: "batch-too-large", title: "Batch too large"},
	{err: errMediaType, status: http.StatusUnsupportedMediaType, code: "media-type-unsupported", title: "Unsupported media type"},
	{err: errMessage, status: http.StatusBadRequest, code: "message-invalid", title: "Invalid message"},
	{err: errHeader, status: http.StatusRequestHeaderFieldsTooLarge, code: "header-too-large", title: "Headers too large"},
	{err: errAccept, status: http.StatusNotAcceptable, code: "not-acceptable", title: "Not acceptable"},
	{err: errLast, status: http.StatusBadRequest, code: "last-invalid", title: "Invalid number of events"},
	{err: errLimit, status: http.StatusBadRequest, code: "limit-invalid", title: "Invalid page size"},
	{err: errOrder, status: http.StatusBadRequest, code: "order-invalid", title: "Invalid order"},
	{err: errTooManyRooms, status: http.StatusBadRequest, code: "too-many-rooms", title: "Too many rooms"},
	{err: errNotFound, status: http.StatusNotFound, code: "not-found", title: "Not found"},
	{err: errMethod, status: http.StatusMethodNotAllowed, code: "method-not-allowed", title: "Method not allowed"},
	{err: errUpgrade, status: http.StatusUpgradeRequired, code: "upgrade-required", title: "Upgrade required"},
	{err: errHandshake, status: http.StatusBadRequest, code: "handshake-invalid", title: "Invalid WebSocket handshake"},
	{err: errOrigin, status: http.StatusForbidden, code: "origin-forbidden", title: "Forbidden origin"},
	{err: errSubprotocol, status: http.StatusBadRequest, code: "subprotocol-unsupported", title: "Unsupported subprotocol"},
	{err: errUnauthorized, status: http.StatusUnauthorized, code: "unauthorized", title: "Unauthorized", challenge: challengeNone},
	{err: access.ErrCredential, status: http.StatusUnauthorized, code: "unauthorized", title: "Unauthorized", challenge: challengeInvalid},
	{err: access.ErrUnavailable, status: http.StatusServiceUnavailable, code: "auth-unavailable", title: "Tokens can't be verified now", vague: true, retryAfter: 2},
	{err: errRateLimited, status: http.StatusTooManyRequests, code: "rate-limited", title: "Too much in too short a time", retryAfter: 1},
	{err: errForbidden, status: http.StatusForbidden, code: "forbidden", title: "Forbidden"},
	{err: errExpired, status: http.StatusUnauthorized, code: "token-expired", title: "Token expired", challenge: challengeInvalid},
	{err: errExpiring, status: http.StatusUnauthorized, code: "token-expiring", title: "Token about to expire", challenge: challengeInvalid},
	{err: errFollowed, status: http.StatusConflict, code: "already-subscribed", title: "Already subscribed"},
	{err: errNotFollowed, status: http.StatusConflict, code: "not-subscribed", title: "Not subscribed"},
	{err: streams.ErrKeyReused, status: http.StatusUnprocessableEntity, code: "key-reused", title: "Idempotency key used with different content", vague: true},
	{err: streams.ErrDurability, status: http.StatusBadRequest, code: "durability-unsupported", title: "Unsupported durability"},
	{err: streams.ErrNotDurable, status: http.StatusServiceUnavailable, code: "not-durable", title: "Logged, but not as safe as asked for", vague: true, retryAfter: 2},
	{err: streams.ErrRefused, status: http.StatusServiceUnavailable, code: "log-refused", title: "The log refused the event", vague: true},
	{err: streams.ErrUnavailable, status: http.StatusServiceUnavailable, code: "log-unavailable", title: "The log is unavailable", vague: true, retryAfter: 2},
	{err: streams.ErrClosed, status: http.StatusServiceUnavailable, code: "draining", title: "The node is going away", vague: true, retryAfter: 1},
	{err: limits.ErrNodeFull, status: http.StatusServiceUnavailable, code: "node-full", title: "The node is full", retryAfter: 5},
	{err: limits.ErrAddressFull, status: http.StatusTooManyRequests, code: "too-many-connections", title: "Too many connections", retryAfter: 10},
	{err: limits.ErrUserFull, status: http.StatusTooManyRequests, code: "too-many-connections", title: "Too many connections", retryAfter: 10},
	{err: errDraining, status: http.StatusServiceUnavailable, code: "draining", title: "The node is going away", retryAfter: 1},
	{err: errInternal, status: http.StatusInternalServerError, code: "internal", title: "Internal error", vague: true},
}

// kindOf returns the kind of problem that err is.
func kindOf(err error) kind {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k
		}
	}
	return kinds[len(kinds)-1]
}

// problemOf returns what a client is told of err.
func problemOf(err error) *problem {
	k := kindOf(err)
	detail := err.Error()
	if k.vague {
		detail = k.err.Error()
	}
	p := &problem{
		Type:       "urn:tidemark:problem:" + k.code,
		Title:      k.title,
		Status:     k.status,
		Detail:     detail,
		Code:       k.code,
		retryAfter: k.retryAfter,
		challenge:  k.challenge,
	}
	if logged, ok := errors.AsType[*unsafe](err); ok {
		p.ID = &logged.id
	}
	if soon, ok := errors.AsType[*overRate](err); ok {
		p.retryAfter = soon.seconds()
	}
	return p
}

// problem returns what a client is told of err, and counts it.
func (s *Server) problem(err error) *problem {
	p := problemOf(err)
	s.metrics.problems.WithLabelValues(p.Code).Inc()
	return p
}

// logFailure keeps for the operator what a client is not told: the whole text of
// an error that is not the client's doing.
func (s *Server) logFailure(err error) {
	if err == nil || errors.Is(err, errDraining) || errors.Is(err, limits.ErrNodeFull) {
		return // as it is meant to be; the last would be a line for each client of a storm
	}
	if k := kindOf(err); k.status >= http.StatusInternalServerError {
		s.opts.Logger.Error("a request failed", "code", k.code, "error", err)
	}
}

// fromEcho translates what the router itself answers.
func fromEcho(err error) error {
	var router *echo.HTTPError
	if !errors.As(err, &router) {
		return err
	}
	switch router.Code {
	case http.StatusNotFound:
		return errNotFound
	case http.StatusMethodNotAllowed:
		return errMethod
	}
	return err
}

// refuse answers a request with the problem that err is. It is echo's error handler.
func (s *Server) refuse(err error, c echo.Context) {
	err = fromEcho(err)
	s.logFailure(err)
	p := s.problem(err)
	visitOf(c).refused(p.Code)
	if c.Response().Committed {
		return
	}
	writeProblem(c.Response(), p)
}

func writeProblem(w http.ResponseWriter, p *problem) {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a number: can't happen
	}
	h := w.Header()
	h.Set(echo.HeaderContentType, "application/problem+json")
	h.Set(echo.HeaderCacheControl, "no-store")
	if p.retryAfter > 0 {
		h.Set(echo.HeaderRetryAfter, strconv.Itoa(p.retryAfter))
	}
	if p.challenge != "" {
		h.Set(echo.HeaderWWWAuthenticate, p.challenge)
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // whoever does not wait for the answer does not get it
}
