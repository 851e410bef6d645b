package ws

import (
	"encoding/binary"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

const (
	// closeTimeout is how long a client may take to answer a close frame.
	closeTimeout = 2 * time.Second
	// closeUnauthorized is the close code for an expired token.
	closeUnauthorized = 4401
)

// A Session is one client's WebSocket on the server's side.
type Session struct {
	conn.Conn
	server *Server

	// Fixed by Upgrade.
	ws       *websocket.Conn
	upgraded *upgradedConn // beneath ws
	address  string        // publishes count against its rate limit; "" if they do not
	limiter  *messageLimiter

	refusing bool // the message being read has too many small frames; owned by the reader

	unanswered atomic.Int32 // pings since the client was last heard
	queues     queues
	expiry     expiry

	// Owned by the task.
	subs      []*roomSub
	due       conn.WakeReason // not dealt with yet; ReaderDone stays
	ping      *time.Timer
	keepAlive *time.Timer

	// Owned by the handler.
	rooms []streams.Room // subscribed
	grant *access.Grant
}

// Serve starts the session and returns.
func (k *Session) Serve() {
	k.ping = time.AfterFunc(k.server.opts.PingEvery, func() { k.WakeFor(conn.PingDue) })
	k.keepAlive = time.AfterFunc(k.Env.KeepAlive, func() { k.WakeFor(conn.KeepAliveDue) })
	k.watchGrant()
	go k.read()
	k.Start()
}

// watchGrant makes the session end with its grant.
func (k *Session) watchGrant() {
	k.expiry.set(k.grant.Expires(), func() { k.WakeFor(conn.ExpiryDue) })
}

// end releases everything that the session holds. The reader and the handler have ended.
func (k *Session) end() conn.Result {
	k.ping.Stop()
	k.keepAlive.Stop()
	k.expiry.set(time.Time{}, nil)
	for _, s := range k.subs {
		s.close()
	}
	_, dropped := k.queues.takeMessages()
	release(dropped)
	for _, a := range k.queues.takeAnswers() {
		if a.begin != nil {
			a.begin.close()
		}
	}
	return k.Finish(http.StatusSwitchingProtocols, codeOfClose(k.queues.queuedClose()))
}

// codeOfClose returns the code of the problem that a close frame reports; "" without a
// frame, or for one that only answers the client's.
func codeOfClose(frame []byte) string {
	if len(frame) < 4 { // two bytes of head, two of code (RFC 6455, section 5.5.1)
		return ""
	}
	switch code := int(binary.BigEndian.Uint16(frame[2:])); code {
	case websocket.CloseProtocolError, websocket.CloseUnsupportedData, websocket.CloseInvalidFramePayloadData, websocket.CloseMessageTooBig:
		return problem.CodeOf(problem.ErrMessage)
	case websocket.CloseNormalClosure, websocket.CloseGoingAway:
		return ""
	}
	return string(frame[4:]) // the server's own close frames carry a problem's code
}

// Run implements conn.Runner.
func (k *Session) Run(w *conn.Worker) conn.Result {
	k.due |= k.TakeReasons()
	k.checkDue()
	state, handling, closeDue := k.queues.snapshot()
	if closeDue {
		k.queueClose(state)
	}
	if k.Closed() {
		state = stateClosed
		k.queues.advance(state)
	}
	done := k.due.Has(conn.ReaderDone) && !handling
	if state >= stateClosing {
		if done {
			return k.end()
		}
		return conn.Idle
	}
	b, next := k.fill(w.Buf[:0], state, &w.Stats)
	w.Buf = b[:0]
	if next == conn.Detached {
		return next // another goroutine is the task
	}
	if done {
		next = conn.Closed // after the remaining frames
	}
	return k.Send(w, b, next)
}

// Held implements conn.Runner. At most one subscription has a batch: see queues.putReady.
func (k *Session) Held() int {
	held := k.queues.heldAnswers()
	for _, s := range k.subs {
		held += conn.DataSize(s.batch.Items)
	}
	return held
}

// Shed implements conn.Runner.
func (k *Session) Shed() {
	for _, s := range append(k.queues.stall(), k.subs...) {
		s.sub.Shed()
	}
}

// checkDue moves the state forward as the wake reasons demand. ExpiryDue stays due if the
// client must be warned.
func (k *Session) checkDue() {
	if k.due.Has(conn.DrainRequested) {
		k.due &^= conn.DrainRequested
		k.queues.advance(stateDraining)
	}
	if k.due.Has(conn.ExpiryDue) {
		warn, expired := k.expiry.check()
		if !warn {
			k.due &^= conn.ExpiryDue
		}
		if expired {
			k.queues.advance(stateExpired)
		}
	}
}

// queueClose queues the close frame that the state calls for. The messages that were read
// before have been answered: a publish that has begun must get its answer.
func (k *Session) queueClose(s state) {
	switch s {
	case stateExpired:
		k.closeWith(closeUnauthorized, problem.CodeOf(problem.ErrExpired))
	case stateOverloaded:
		k.closeWith(websocket.CloseTryAgainLater, problem.CodeOf(problem.ErrOverloaded))
	case stateFlooding:
		k.closeWith(websocket.ClosePolicyViolation, problem.CodeOf(problem.ErrRateLimited))
	default:
		k.closeWith(websocket.CloseServiceRestart, problem.CodeOf(problem.ErrDraining))
	}
}

// closeWith queues a close frame. From then on the client has closeTimeout to answer it.
func (k *Session) closeWith(code int, reason string) {
	k.writeControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason))
	k.boundRead()
}

// writeControl queues a control frame. The library drops frames after a close frame.
func (k *Session) writeControl(opcode int, payload []byte) {
	_ = k.ws.WriteControl(opcode, payload, time.Now().Add(handshakeTimeout)) // into the queue, so it cannot fail
}

// queueControl is called by the library to write a control frame.
func (k *Session) queueControl(frame []byte) {
	k.queues.putControl(frame)
	k.Wake()
}

func (k *Session) boundRead() { _ = k.upgraded.SetReadDeadline(time.Now().Add(closeTimeout)) }

// markUnfinished makes the task continue with s, whose batch is not written, before it looks
// for events of other subscriptions.
func (k *Session) markUnfinished(s *roomSub) {
	k.queues.putUnfinished(s)
	k.Wake()
}

// markReady makes the task look for events of s. Any goroutine may call it.
func (k *Session) markReady(s *roomSub) {
	k.queues.putReady(s)
	k.Wake()
}
