// Package ws serves WebSocket sessions.
//
// A session is a task of package conn. One goroutine reads. A second one, started on
// demand, handles messages in order: it executes operations and queues their answers. The
// task alone writes: answers, control frames, and the events of the rooms.
package ws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const (
	// Subprotocol names the language of the frames.
	Subprotocol = "tidemark.v1"
	// handshakeTimeout bounds the writing of the answer to an upgrade.
	handshakeTimeout = 10 * time.Second
)

// A Backend is the part of a node that sessions need.
type Backend interface {
	// Subscribe follows rooms, if the rate limits of the grant and the address allow it.
	Subscribe(ctx context.Context, g *access.Grant, address string, rooms []streams.Room, start replay.Start, notify func()) (*service.Subscription, error)
	// Publish stores the drafts, as far as the rate limits of the grant and the address
	// allow, and returns one receipt per draft.
	Publish(ctx context.Context, g *access.Grant, address string, drafts []streams.Draft) []streams.Receipt
	// Verify returns the grant of a token.
	Verify(ctx context.Context, token string) (*access.Grant, error)
	// Draining reports whether the node refuses publishes because it is shutting down.
	Draining() bool
}

// Options are the limits of sessions.
type Options struct {
	MaxData     int           // bytes of an event's data
	MaxMessage  int           // bytes of a message
	MaxRooms    int           // of one session
	MaxMessages int           // a second; 0 means no limit
	PingEvery   time.Duration // three pings without an answer close the session

	// Bodies bounds the messages of all sessions that are being read, wait, or are being
	// executed, together with the bodies of requests; nil for no limit.
	Bodies *limits.MemoryPool

	CheckOrigin func(*http.Request) bool
	Refused     prometheus.Counter // messages beyond MaxMessages
}

// A Server upgrades requests to sessions.
type Server struct {
	env      *conn.Env
	backend  Backend
	opts     Options
	upgrader websocket.Upgrader
}

// NewServer returns a Server.
func NewServer(env *conn.Env, b Backend, o Options) *Server {
	return &Server{env: env, backend: b, opts: o, upgrader: websocket.Upgrader{
		HandshakeTimeout: handshakeTimeout,
		Subprotocols:     []string{Subprotocol},
		ReadBufferSize:   0, // use the buffer of upgradeWriter
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      o.CheckOrigin,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			env.Problems.Document(handshakeError(status, reason)).Write(w)
		},
	}}
}

// handshakeError returns the error for a handshake that the upgrader has refused with
// status.
func handshakeError(status int, reason error) error {
	if status == http.StatusForbidden {
		return problem.ErrOrigin
	}
	return fmt.Errorf("%w: %v", problem.ErrHandshake, reason)
}

// CheckUpgrade returns an error if r does not ask for an upgrade that the server supports.
func CheckUpgrade(w http.ResponseWriter, r *http.Request) error {
	if !websocket.IsWebSocketUpgrade(r) {
		if r.ProtoMajor == 1 { // HTTP/2 has no upgrade, and forbids the header (RFC 9113, section 8.2.2)
			w.Header().Set("Upgrade", "websocket")
		}
		return fmt.Errorf("%w: ask for an upgrade", problem.ErrUpgrade)
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, Subprotocol) {
		return fmt.Errorf("%w: want %s", problem.ErrSubprotocol, Subprotocol)
	}
	return nil
}

// A Request is a request for a session that has passed CheckUpgrade.
type Request struct {
	Grant    *access.Grant
	Address  string        // publishes and reads count against its rate limits; "" if addresses are not counted
	Slot     *limits.Slot  // released by the session once Upgrade has succeeded
	Recorder conn.Recorder // nil without an access log
	Header   http.Header   // additional headers of the answer
}

// Upgrade answers a request, and returns a session that Serve starts. It returns nil if
// the upgrader has refused the handshake and answered the client.
func (s *Server) Upgrade(w *echo.Response, r *http.Request, q Request) *Session {
	uw := &upgradeWriter{ResponseWriter: w}
	ws, err := s.upgrader.Upgrade(uw, r, q.Header)
	if err != nil {
		if q.Recorder != nil {
			q.Recorder.EndReason(problem.CodeOf(handshakeError(w.Status, err)))
		}
		return nil
	}
	k := &Session{
		Conn:   conn.Conn{Env: s.env, Slot: q.Slot, Recorder: q.Recorder, Protocol: conn.WebSocket},
		server: s, ws: ws, upgraded: uw.conn, address: q.Address,
		limiter: newMessageLimiter(s.opts.MaxMessages), grant: q.Grant,
	}
	k.Init(k, uw.conn.Conn)
	k.queues.init()
	uw.conn.control = k.queueControl
	if k.limiter != nil {
		uw.conn.scanner, uw.conn.found = new(frameScanner), k.countFrame
	}
	return k
}

// Reject upgrades a request and closes the WebSocket because of err: the page in a browser
// learns nothing from a handshake that fails. It keeps nothing for the client. If the
// client has left, it panics with http.ErrAbortHandler.
func (s *Server) Reject(w *echo.Response, r *http.Request, rec conn.Recorder, err error) {
	if errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	s.env.Problems.LogFailure(err)
	p := s.env.Problems.Document(err)
	if rec != nil {
		rec.EndReason(p.Code)
	}
	closeFrame := appendFrame(nil, websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseTryAgainLater, p.Code))
	ws, err := s.upgrader.Upgrade(&rejectingWriter{w, closeFrame}, r, nil)
	if err == nil { // otherwise the upgrader has answered
		w.Status = http.StatusSwitchingProtocols
		_ = ws.Close()
	}
}
