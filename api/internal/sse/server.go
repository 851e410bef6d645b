// Package sse serves streams of Server-Sent Events.
//
// A stream is a task of package conn: Open subscribes and takes the connection over, and
// Serve starts the task. See stream.go for its states and encoder.go for the blocks.
package sse

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A Backend is the part of a node that streams need.
type Backend interface {
	Name() string
	Subscribe(ctx context.Context, rooms []streams.Room, start replay.Start, notify func()) (*service.Subscription, error)
}

// A Server opens streams.
type Server struct {
	Env  *conn.Env
	Node Backend
}

// A Request is a request to follow rooms.
type Request struct {
	Rooms    []streams.Room
	Wrapped  bool // put the room around the data of each event
	Start    replay.Start
	Slot     *limits.Slot  // released by the stream once Open has succeeded
	Recorder conn.Recorder // nil without an access log
}

// Reject ends a stream before it has begun, and tells the client err. It resets the
// stream: some clients take an orderly end as final (r3labs/sse and
// @microsoft/fetch-event-source, see tests/clients), and an open connection would bring
// the client back to this node. Reject panics with http.ErrAbortHandler and does not return.
func (s *Server) Reject(w http.ResponseWriter, rec conn.Recorder, err error) {
	if rec != nil {
		rec.EndReason(problem.CodeOf(err))
	}
	if !errors.Is(err, context.Canceled) { // otherwise the client has left
		setStreamHeader(w.Header())
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(s.appendDrain(nil, err)) // the stream ends in any case
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler)
}

// appendDrain appends the blocks that send a client away because of err.
func (s *Server) appendDrain(b []byte, err error) []byte {
	s.Env.Problems.LogFailure(err)
	wait := retryOutage
	switch {
	case errors.Is(err, problem.ErrDraining):
		wait = retryDrain
	case errors.Is(err, limits.ErrAddressFull), errors.Is(err, limits.ErrUserFull):
		wait = retryTooMany
	case errors.Is(err, problem.ErrExpired):
		wait = retryNormal
	}
	if over, ok := errors.AsType[*problem.RateError](err); ok {
		wait = max(over.Wait, time.Second)
	}
	return appendError(appendRetry(b, wait), s.Env.Problems.Document(err))
}

// Open subscribes and takes the connection of r over from net/http. If the subscription
// fails, it rejects the client and does not return. From here on errors are reported in
// the stream: a browser reconnects only after status 200.
func (s *Server) Open(w *echo.Response, r *http.Request, q Request) (*Stream, error) {
	st := &Stream{
		Conn:   conn.Conn{Env: s.Env, Slot: q.Slot, Recorder: q.Recorder, Protocol: conn.SSE},
		server: s, rooms: q.Rooms,
	}
	var err error
	st.sub, err = s.Node.Subscribe(r.Context(), q.Rooms, q.Start, st.Wake)
	if err != nil {
		s.Reject(w, q.Recorder, err)
	}
	st.encoder = newEncoder(q.Wrapped, st.sub.InitialCursor())
	t, err := st.takeOver(w, r)
	if err != nil {
		st.sub.Close()
		return nil, err
	}
	st.Init(st, t)
	return st, nil
}

// takeOver takes the connection over from net/http, or one stream of an HTTP/2 connection.
// Over HTTP/2 the request's handler must stay until the stream ends.
func (st *Stream) takeOver(w *echo.Response, r *http.Request) (conn.Transport, error) {
	setStreamHeader(w.Header())
	if r.ProtoMajor > 1 {
		st.finished = make(chan struct{})
		w.WriteHeader(http.StatusOK)
		return conn.NewHTTP2Transport(w.Writer, r), nil
	}
	st.chunked = r.ProtoAtLeast(1, 1)
	st.head = responseHead(w.Header(), st.chunked)
	t, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", problem.ErrInternal, err)
	}
	return t, nil
}

// Serve starts the stream, which ends with the grant at expires; the zero time means never.
// Over HTTP/1 it returns at once. Over HTTP/2 it waits for the end of the stream and panics
// with http.ErrAbortHandler, for the reason given at Reject.
func (st *Stream) Serve(expires time.Time) {
	st.keepAlive = time.AfterFunc(st.Env.KeepAlive, func() { st.WakeFor(conn.KeepAliveDue) })
	if !expires.IsZero() {
		st.expiry = time.AfterFunc(time.Until(expires), func() { st.WakeFor(conn.ExpiryDue) })
	}
	st.Start()
	if st.finished == nil {
		go st.read()
		return
	}
	st.read()
	<-st.finished // until then the task writes to the stream
	panic(http.ErrAbortHandler)
}
