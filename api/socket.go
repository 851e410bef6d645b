package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const (
	// subprotocol names the language of the frames.
	subprotocol = "tidemark.v1"
	// handshakeLimit bounds the writing of the answer to an upgrade.
	handshakeLimit = 10 * time.Second
	// closeGrace is how long a peer may take to answer a close frame.
	closeGrace = 2 * time.Second
	// maxAsked bounds the messages that were read and are not served yet, and
	// maxAskedBytes their text, but for one. Beyond that, the client is not read from.
	maxAsked      = 64
	maxAskedBytes = 1 << 20
	// maxAnswers bounds the answers that wait to be written. Beyond that, the client
	// is not served: it does not read what it has asked for.
	maxAnswers = 64
	// readBuffer is the size of a connection's read buffer: most messages are smaller.
	readBuffer = 512
	// warnBefore is how long before the end of its token a client is told that it
	// needs a new one.
	warnBefore = 30 * time.Second
	// closeUnauthorized closes a connection whose token has expired.
	closeUnauthorized = 4401
)

// newUpgrader returns what turns requests into sockets. Pages may connect from
// the server's own origin, and from those that are welcome.
func (s *Server) newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: handshakeLimit,
		Subprotocols:     []string{subprotocol},
		ReadBufferSize:   0, // it takes upgradeWriter's
		WriteBufferPool:  &sync.Pool{},
		CheckOrigin:      s.fromPage,
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			s.problems.Document(handshakeError(status, reason)).Write(w)
		},
	}
}

// handshakeError is what the upgrader has refused, with status and for reason.
func handshakeError(status int, reason error) error {
	if status == http.StatusForbidden {
		return problem.ErrOrigin
	}
	return fmt.Errorf("%w: %v", problem.ErrHandshake, reason)
}

// serveSocket upgrades a request. The socket goes on by itself.
func (s *Server) serveSocket(c echo.Context) error {
	r := c.Request()
	if !websocket.IsWebSocketUpgrade(r) {
		if r.ProtoMajor == 1 { // later versions don't upgrade, and such a field breaks the answer (RFC 9113, 8.2.2)
			c.Response().Header().Set(echo.HeaderUpgrade, "websocket")
		}
		return fmt.Errorf("%w: it is for clients that ask for an upgrade", problem.ErrUpgrade)
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, subprotocol) {
		return fmt.Errorf("%w: want %s", problem.ErrSubprotocol, subprotocol)
	}
	seat, err := s.admit(c)
	if err != nil {
		s.closeAtOnce(c, err)
		return nil
	}
	begun := false
	defer func() {
		if !begun {
			seat.Release()
		}
	}()
	w := &upgradeWriter{ResponseWriter: c.Response()}
	v := visitOf(c)
	ws, err := s.upgrader.Upgrade(w, r, v.header())
	if err != nil {
		v.refused(problem.CodeOf(handshakeError(c.Response().Status, err)))
		return nil // answered by the upgrader, as far as it could be
	}
	stays(c, http.StatusSwitchingProtocols)
	k := &socket{
		line: line{server: s, over: overWebSocket, seat: seat, visit: v}, ws: ws, grant: s.grant(c),
		address: s.addressOf(r), pace: newPace(s.opts.MaxMessages),
	}
	k.begin(w.conn)
	begun = true
	return nil
}

// A socket is one WebSocket connection. Its reader reads; what it has read is served
// by an attendant, a goroutine that is there while something is asked for; all that is
// written its task writes.
type socket struct {
	line
	ws      *websocket.Conn
	conn    *upgradedConn // beneath ws
	address string        // by which its publishes are counted; "" if they are not
	pace    *pace         // of its messages; nil for no limit

	missed atomic.Int32 // pings since the client was last heard

	// Owned by the task.
	follows   []*roomFollow
	gone      bool // the reader has ended
	closing   bool // a close frame was written: the last that the client hears
	warn      bool // it is time to say that the token is about to expire
	expired   bool // it has: nothing of the rooms is written any more
	silent    bool // it is time to say the position
	pinging   bool // it is time for a ping
	ping      *time.Timer
	keepAlive *time.Timer

	// Owned by the attendant.
	rooms []streams.Room // asked for and not left
	grant *access.Grant

	mu         sync.Mutex // guards the fields below
	room       sync.Cond  // asked or answers have become fewer, or nobody takes any more
	asked      []message
	askedBytes int
	attended   bool // there is an attendant
	answers    []answer
	pong, bye  []byte // control frames to be written
	ready      []*roomFollow
	leaving    bool        // the client is being sent away: what it asks for now is not read
	flooding   bool        // because it talks too much
	deaf       bool        // nobody takes answers any more
	expires    time.Time   // the grant; zero for never
	expiry     *time.Timer // nil for never
}

// A roomFollow is one subscribed room of a socket. It belongs to the task.
type roomFollow struct {
	room     streams.Room
	sub      *service.Subscription
	pos      streams.ID    // what the client has of the room
	batch    service.Batch // taken, and not written yet
	over     bool          // unsubscribed
	patience patience

	marked bool // it stands among socket.ready; guarded by socket.mu
}

// An answer is a frame to be written, and with it a new follow to take over or one
// to end.
type answer struct {
	frame []byte // a text frame's payload
	begin *roomFollow
	end   streams.Room
}

// begin starts the socket on conn.
func (k *socket) begin(conn *upgradedConn) {
	s := k.server
	k.runner, k.out, k.room.L = k, newOutlet(conn.Conn, s.opts.WriteTimeout), &k.mu
	k.conn, conn.socket = conn, k
	k.ping = time.AfterFunc(s.opts.PingEvery, func() { k.hint(hintPing) })
	k.keepAlive = time.AfterFunc(s.opts.KeepAlive, func() { k.hint(hintSilence) })
	k.until(k.grant.Expires())
	s.metrics.connections[overWebSocket].Inc()
	s.requests.enter()
	s.lines.add(&k.line)
	go k.listen()
	s.crew.settle(&k.task, more)
}

// end is the last thing that a socket does. Its reader and its attendant have ended.
func (k *socket) end() outcome {
	k.ping.Stop()
	k.keepAlive.Stop()
	k.until(time.Time{})
	for _, f := range k.follows {
		f.end()
	}
	for _, a := range k.takeAnswers() {
		if a.begin != nil {
			a.begin.end()
		}
	}
	_ = k.out.conn.Close()
	k.seat.Release()
	s := k.server
	s.lines.remove(&k.line)
	k.ended(k.lastWord())
	s.metrics.connections[overWebSocket].Dec()
	s.requests.leave()
	return over
}

// run implements runner. It writes what there is to say, once.
func (k *socket) run(d *desk) outcome {
	hints := k.hints.Swap(0)
	k.gone = k.gone || hints&hintGone != 0
	k.silent = k.silent || hints&hintSilence != 0
	k.pinging = k.pinging || hints&hintPing != 0
	if hints&hintExpiry != 0 {
		k.mindExpiry()
	}
	attended := k.look(hints&hintLeave != 0)
	if k.dead || k.closing {
		if k.gone && !attended {
			return k.end()
		}
		return rest
	}
	b, o := k.fill(d.buf[:0], &d.load)
	d.buf = b[:0]
	if o == lent {
		return o // somebody else is the task
	}
	if k.gone && !attended {
		o = over // with what was still to be said
	}
	return k.say(d, b, o)
}

// look notes that the client is to be sent away, and does so once all that it has
// asked for is answered: a publish that was begun must not end without a word. It
// reports whether there is an attendant.
func (k *socket) look(leave bool) (attended bool) {
	k.mu.Lock()
	k.leaving = k.leaving || leave
	if k.dead || k.closing {
		k.deaf = true
		k.room.Broadcast()
	}
	attended = k.attended
	now, flooding := k.leaving && !attended && k.bye == nil, k.flooding
	k.mu.Unlock()
	switch {
	case !now:
	case k.expired:
		k.hangUpWith(closeUnauthorized, problem.CodeOf(problem.ErrExpired))
	case flooding:
		k.hangUpWith(websocket.ClosePolicyViolation, problem.CodeOf(problem.ErrRateLimited))
	default:
		k.hangUpWith(websocket.CloseServiceRestart, problem.CodeOf(problem.ErrDraining))
	}
	return attended
}

// fill appends the frames that there are, up to some maxWrite, to b.
func (k *socket) fill(b []byte, carries *load) ([]byte, outcome) {
	for _, a := range k.takeAnswers() {
		b = appendFrame(b, websocket.TextMessage, a.frame)
		k.obey(a)
	}
	pong, bye := k.takeControl()
	b = append(append(b, pong...), bye...)
	if bye != nil {
		k.closing = true
		return b, more
	}
	b, gone := k.tend(b)
	if gone {
		return b, over
	}
	for !k.expired && len(b) < maxWrite {
		f := k.nextReady()
		if f == nil {
			return b, rest
		}
		var asks bool
		if b, asks = k.pull(b, f, carries); asks {
			if len(b) > 0 {
				k.markReady(f)
				return b, more
			}
			return b, k.lend(func() outcome { return k.ask(f) })
		}
	}
	if k.expired {
		return b, rest
	}
	return b, more
}

// obey begins or ends a follow. Nothing of a room is sent before the answer to its
// subscribe, nor after that to its unsubscribe.
func (k *socket) obey(a answer) {
	if a.begin != nil {
		k.follows = append(k.follows, a.begin)
		k.markReady(a.begin)
	}
	if i := slices.IndexFunc(k.follows, func(f *roomFollow) bool { return f.room == a.end }); i >= 0 {
		k.follows[i].end()
		k.follows = slices.Delete(k.follows, i, i+1)
	}
}

// tend appends what is due by the clock. gone says that the client does not live: two
// pings were not answered, whatever TCP believes.
func (k *socket) tend(b []byte) (_ []byte, gone bool) {
	if k.silent {
		k.silent = false
		k.keepAlive.Reset(k.server.opts.KeepAlive)
		b = k.position(b)
	}
	if k.warn {
		k.warn = false
		b = k.appendError(b, problem.ErrExpiring)
	}
	if k.pinging {
		k.pinging = false
		k.ping.Reset(k.server.opts.PingEvery)
		if k.missed.Add(1) > 2 {
			k.visit.refused(endedStuck)
			return b, true
		}
		b = appendFrame(b, websocket.PingMessage, nil)
	}
	return b, false
}

// pull appends the next events of a room. asks says that the log has to be asked for
// them.
func (k *socket) pull(b []byte, f *roomFollow, carries *load) (_ []byte, asks bool) {
	if f.batch.Empty() {
		batch, ok := f.sub.Ready()
		if !ok {
			return b, true
		}
		f.patience.end()
		if batch.Empty() {
			if k.outage(f.sub) {
				b = k.appendError(b, streams.ErrUnavailable)
			}
			return b, false
		}
		f.batch = batch
	}
	b = k.encode(b, f, carries)
	if !f.batch.Empty() || f.batch.More {
		k.markReady(f)
	}
	return b, false
}

// encode appends what was taken of a room, as far as it goes into one write.
func (k *socket) encode(b []byte, f *roomFollow, carries *load) []byte {
	b = appendItems(b, &f.batch, carries, f.item)
	if f.batch.Items == nil && f.batch.ReplayDone {
		f.batch.ReplayDone = false
		if c, ok := f.sub.Position(); ok {
			f.pos = c.IDs()[0] // also that of a client for whom there was nothing
		}
		b = appendFrame(b, websocket.TextMessage, liveFrame(f.room, f.batch.Replayed, f.pos))
	}
	return b
}

// item appends the frame of one item.
func (f *roomFollow) item(b []byte, it replay.Item) []byte {
	f.pos = it.Position
	if it.Gap != nil {
		return appendFrame(b, websocket.TextMessage, gapFrame(it.Gap))
	}
	return append(b, it.Event.Encoded(streams.WebSocket, eventFrame)...)
}

// ask waits for the log. The connection stays while the log does not answer, and the
// client is told once, for all its rooms.
func (k *socket) ask(f *roomFollow) outcome {
	batch, err := f.sub.Next(k.server.cut)
	switch {
	case err == nil:
		f.patience.end()
		f.batch = batch
		k.markReady(f)
		return more
	case !errors.Is(err, streams.ErrUnavailable):
		return k.hangUp(err)
	}
	first := f.patience.begin(func() { k.markReady(f) })
	if !first || !k.failure(f.sub) {
		return more
	}
	k.server.problems.LogFailure(err)
	return k.sayNow(k.appendError(nil, err), more)
}

func (k *socket) appendError(b []byte, err error) []byte {
	return appendFrame(b, websocket.TextMessage, errorFrame(k.server.problems.Document(err), "", nil))
}

// position appends a cursor that is good for all rooms followed: in each partition
// the earliest of theirs.
func (k *socket) position(b []byte) []byte {
	if len(k.follows) == 0 {
		return b
	}
	earliest := make(map[streams.Partition]streams.ID)
	for _, f := range k.follows {
		if f.batch.Empty() {
			if c, ok := f.sub.Position(); ok {
				f.pos = c.IDs()[0] // one room is in one partition
			}
		}
		p := f.pos.Partition()
		if pos, ok := earliest[p]; !ok || f.pos.Before(pos) {
			earliest[p] = f.pos
		}
	}
	ids := make([]streams.ID, 0, len(earliest))
	for _, id := range earliest {
		ids = append(ids, id)
	}
	return appendFrame(b, websocket.TextMessage, newFrame("position").cursor(replay.CursorAt(ids...).String()).end(nil))
}

// until has the socket end with its grant, and the client warned before; the zero time
// is for never.
func (k *socket) until(expires time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.expiry != nil {
		k.expiry.Stop()
		k.expiry = nil
	}
	k.expires = expires
	if !expires.IsZero() {
		k.expiry = time.AfterFunc(time.Until(expires.Add(-warnBefore)), func() { k.hint(hintExpiry) })
	}
}

// mindExpiry sees to the client being warned, or sent away, unless there is a new
// grant by now.
func (k *socket) mindExpiry() {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch left := time.Until(k.expires); {
	case k.expires.IsZero() || left > warnBefore:
	case left > 0:
		k.warn = true
		k.expiry.Reset(left)
	default:
		k.expired, k.leaving = true, true
	}
}

func (k *socket) takeAnswers() []answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	answers := k.answers
	k.answers = nil
	k.room.Broadcast()
	return answers
}

func (k *socket) takeControl() (pong, bye []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pong = k.pong; !k.attended && len(k.answers) == 0 {
		bye = k.bye // after the last answer
	}
	k.pong = nil
	return pong, bye
}

// lastWord returns the close frame that was written, or was to be; nil for none.
func (k *socket) lastWord() []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bye
}

// markReady has the task look at f. It may be called from anywhere and does not
// block.
func (k *socket) markReady(f *roomFollow) {
	k.mu.Lock()
	if !f.marked {
		f.marked = true
		k.ready = append(k.ready, f)
	}
	k.mu.Unlock()
	k.server.crew.wake(&k.task)
}

// nextReady returns a follow that is ready: each in its turn, so that none waits for
// another to catch up.
func (k *socket) nextReady() *roomFollow {
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.ready) > 0 {
		f := k.ready[0]
		if k.ready = k.ready[1:]; len(k.ready) == 0 {
			k.ready = nil
		}
		f.marked = false
		if !f.over {
			return f
		}
	}
	return nil
}

// end closes the follow.
func (f *roomFollow) end() {
	f.over = true
	f.patience.end()
	f.sub.Close()
}
