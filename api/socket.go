package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"

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
	// closeLimit bounds how long a close frame waits to be written.
	closeLimit = 5 * time.Second
	// maxCommands bounds what the reader has understood and the writer has not
	// answered yet. When it is full, the client is not read from.
	maxCommands = 16
	// socketBuffer is the size of a connection's read buffer, and of the write
	// buffers that all connections share.
	socketBuffer = 4 << 10
)

// newUpgrader returns what turns requests into sockets. Pages may connect from
// the server's own origin only.
func (s *Server) newUpgrader() websocket.Upgrader {
	return websocket.Upgrader{
		HandshakeTimeout: handshakeLimit,
		Subprotocols:     []string{subprotocol},
		ReadBufferSize:   socketBuffer,
		WriteBufferSize:  socketBuffer,
		WriteBufferPool:  &sync.Pool{},
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			err := fmt.Errorf("%w: %v", errHandshake, reason)
			if status == http.StatusForbidden {
				err = errOrigin
			}
			writeProblem(w, s.problem(err))
		},
	}
}

// serveSocket upgrades a request and serves the socket until one side leaves.
func (s *Server) serveSocket(c echo.Context) error {
	r := c.Request()
	if !websocket.IsWebSocketUpgrade(r) {
		c.Response().Header().Set(echo.HeaderUpgrade, "websocket")
		return fmt.Errorf("%w: it is for clients that ask for an upgrade", errUpgrade)
	}
	if offered := websocket.Subprotocols(r); len(offered) > 0 && !slices.Contains(offered, subprotocol) {
		return fmt.Errorf("%w: want %s", errSubprotocol, subprotocol)
	}
	w := &corkingWriter{ResponseWriter: c.Response()}
	ws, err := s.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil // answered by the upgrader, as far as it could be
	}
	ctx, cancel := s.lifetime(context.WithoutCancel(r.Context())) // a hijacked request ends by itself
	defer cancel()
	leave, stop := s.departure()
	defer stop()
	k := &socket{
		server:   s,
		ws:       ws,
		conn:     w.conn,
		leave:    leave,
		commands: make(chan command, maxCommands),
		turn:     make(chan struct{}, 1),
		wake:     make(chan struct{}, 1),
		written:  make(chan struct{}),
		rooms:    make(map[streams.Room]bool),
		follows:  make(map[streams.Room]*roomFollow),
	}
	k.serve(ctx)
	return nil
}

// A socket is one WebSocket connection: a reader, which understands what the
// client wants and waits for it to be done, and a writer, which alone sends data
// frames and owns the subscriptions.
type socket struct {
	// Fixed by serveSocket.
	server   *Server
	ws       *websocket.Conn
	conn     *corkedConn     // beneath ws
	leave    <-chan struct{} // closed when the client is to be sent away
	commands chan command    // from the reader to the writer
	turn     chan struct{}   // full while something is done that the client asked for
	wake     chan struct{}   // a follow is ready
	written  chan struct{}   // closed when the writer has ended

	missed atomic.Int32 // pings since the client was last heard
	closed atomic.Bool  // a close frame was sent

	// Owned by the reader.
	rooms map[streams.Room]bool // asked for and not left

	// Owned by the writer.
	follows map[streams.Room]*roomFollow
	told    uint64 // the outage of the log that the client was told of last

	mu    sync.Mutex // guards the field below
	ready []*roomFollow
}

// A roomFollow is one subscribed room of a socket.
type roomFollow struct {
	room streams.Room
	sub  *service.Subscription

	// Owned by the writer.
	pos     streams.ID // what the client has of the room
	gone    bool       // unsubscribed; it may still stand among the ready
	backoff time.Duration
	retry   *time.Timer // asks the log again; nil while it answers
}

// A command is what the reader has the writer do: send a frame, and with it take
// over a new follow or end one.
type command struct {
	frame []byte
	begin *roomFollow
	end   streams.Room
}

// serve runs the socket and returns when all of it has ended.
func (k *socket) serve(ctx context.Context) {
	connections := k.server.metrics.connections.WithLabelValues(transportWebSocket)
	connections.Inc()
	defer connections.Dec()
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(k.server.cut, func() { k.ws.Close() })()
	var writer sync.WaitGroup
	writer.Go(func() {
		defer close(k.written)
		k.write(ctx)
	})
	err := k.read(ctx)
	k.linger(err)
	cancel()
	k.ws.Close() // a writer that is blocked is let go
	writer.Wait()
	k.discard()
}

// discard ends the follows of commands that the writer did not get to.
func (k *socket) discard() {
	for {
		select {
		case cmd := <-k.commands:
			if cmd.begin != nil {
				cmd.begin.sub.Close()
			}
		default:
			return
		}
	}
}

// hangUp tells the client that the connection ends, and why. From then on it has
// closeGrace to agree.
func (k *socket) hangUp(code int, why string) {
	if k.closed.Swap(true) {
		return
	}
	text := websocket.FormatCloseMessage(code, why)
	_ = k.ws.WriteControl(websocket.CloseMessage, text, time.Now().Add(closeLimit))
	_ = k.ws.NetConn().SetReadDeadline(time.Now().Add(closeGrace))
}

// linger reads what the client still sends after a close frame that it has not
// answered: closing over unread data would reset the connection, and the close
// frame could be lost with it. err is what ended the reading.
func (k *socket) linger(err error) {
	var answered *websocket.CloseError
	if !k.closed.Load() || errors.As(err, &answered) {
		return
	}
	_, _ = io.Copy(io.Discard, k.ws.NetConn()) // ends by the deadline that hangUp set
}

// read understands messages until the connection ends, and returns why it did.
func (k *socket) read(ctx context.Context) error {
	k.ws.SetReadLimit(int64(k.server.opts.maxEvent()))
	k.ws.SetPongHandler(func(string) error {
		k.missed.Store(0)
		return nil
	})
	k.ws.SetPingHandler(k.pong)
	for {
		kind, text, err := k.ws.ReadMessage()
		if errors.Is(err, websocket.ErrReadLimit) {
			k.hangUp(websocket.CloseMessageTooBig, "")
		}
		if err != nil {
			return err
		}
		k.missed.Store(0)
		if kind != websocket.TextMessage {
			k.hangUp(websocket.CloseUnsupportedData, "frames are text here")
			return errMessage
		}
		if !k.serveMessage(ctx, text) {
			return errDraining
		}
	}
}

// serveMessage does what a message asks for, unless the client is being sent away.
// It reports whether there still is a writer.
func (k *socket) serveMessage(ctx context.Context, text []byte) bool {
	select {
	case k.turn <- struct{}{}:
	case <-k.written:
		return false
	}
	defer func() { <-k.turn }()
	return k.obey(k.understand(ctx, text))
}

// obey has the writer do cmd. It waits while the writer is behind: a client that
// does not read its answers is not read from. It reports whether there still is a
// writer.
func (k *socket) obey(cmd command) bool {
	select {
	case k.commands <- cmd:
		return true
	case <-k.written:
		if cmd.begin != nil {
			cmd.begin.sub.Close()
		}
		return false
	}
}

// write sends frames until the connection ends.
func (k *socket) write(ctx context.Context) {
	ping := time.NewTicker(k.server.opts.PingEvery)
	defer ping.Stop()
	keepAlive := time.NewTicker(k.server.opts.KeepAlive)
	defer keepAlive.Stop()
	defer k.endFollows()
	var err error
	for err == nil {
		select {
		case cmd := <-k.commands:
			err = k.do(cmd)
		case <-k.wake:
			err = k.deliver(ctx)
		case <-ping.C:
			err = k.ping()
		case <-keepAlive.C:
			err = k.position()
		case <-k.leave:
			if err = k.answerLast(ctx); err == nil {
				k.hangUp(websocket.CloseServiceRestart, "draining")
				return // the reader waits for the client to agree
			}
		case <-ctx.Done():
			return
		}
	}
	k.server.opts.Logger.Debug("socket ends", "error", err)
	if !k.closed.Load() {
		k.ws.Close() // which ends the reader
	}
}

// answerLast answers what the client has asked for, and keeps the reader from doing
// more. A publish that was begun must not end without a word: its client could not
// tell whether it was stored.
func (k *socket) answerLast(ctx context.Context) error {
	for {
		select {
		case cmd := <-k.commands:
			if err := k.do(cmd); err != nil {
				return err
			}
		case k.turn <- struct{}{}: // for good
			return k.answerQueued()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (k *socket) answerQueued() error {
	for {
		select {
		case cmd := <-k.commands:
			if err := k.do(cmd); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (k *socket) endFollows() {
	for _, f := range k.follows {
		f.end()
	}
}

// do sends the frame of a command, and begins or ends a follow. Nothing of a room
// is sent before the answer to its subscribe, nor after that to its unsubscribe.
func (k *socket) do(cmd command) error {
	if f, ok := k.follows[cmd.end]; ok {
		delete(k.follows, cmd.end)
		f.end()
	}
	if f := cmd.begin; f != nil {
		k.follows[f.room] = f
		k.markReady(f)
	}
	return k.send(cmd.frame)
}

// markReady has the writer look at f. It may be called from anywhere and does not
// block.
func (k *socket) markReady(f *roomFollow) {
	k.mu.Lock()
	k.ready = append(k.ready, f)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // it is to wake up already
	}
}

// deliver sends one batch of each room that is ready: none waits for another to
// catch up, and commands go in between.
func (k *socket) deliver(ctx context.Context) error {
	k.mu.Lock()
	ready := k.ready
	k.ready = nil
	k.mu.Unlock()
	for _, f := range ready {
		if f.gone {
			continue
		}
		if err := k.pull(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// pull sends the next batch of a room, if there is one.
func (k *socket) pull(ctx context.Context, f *roomFollow) error {
	batch, err := f.sub.Next(ctx)
	if err != nil {
		return k.outage(f, err)
	}
	f.backoff, f.retry = 0, nil
	if batch.Empty() {
		return k.tellOutage(f) // the subscription says when there is something
	}
	k.markReady(f)
	return k.sendBatch(f, batch)
}

// sendBatch sends what a room has to tell, in one piece unless it is large.
func (k *socket) sendBatch(f *roomFollow, batch service.Batch) error {
	k.conn.cork()
	events, err := k.sendItems(f, batch)
	if err == nil && batch.Live {
		if c, ok := f.sub.Position(); ok {
			f.pos = c.IDs()[0] // also that of a client for whom there was nothing
		}
		err = k.send(liveFrame(f.room, batch.Replayed, f.pos))
	}
	k.server.metrics.delivered.WithLabelValues(transportWebSocket).Add(float64(events))
	return cmp.Or(err, k.conn.uncork())
}

// sendItems sends a frame for each item, and returns how many events it was.
func (k *socket) sendItems(f *roomFollow, batch service.Batch) (events int, err error) {
	for _, it := range batch.Items {
		var text []byte
		if it.Gap != nil {
			text = gapFrame(it.Gap)
		} else {
			text = it.Event.Encoded(streams.WebSocket, eventFrame)
			events++
		}
		if err := k.send(text); err != nil {
			return events, err
		}
		f.pos = it.Position
	}
	return events, nil
}

// tellOutage tells the client, once for all its rooms, that the log does not
// answer: what others publish does not come until it is back.
func (k *socket) tellOutage(f *roomFollow) error {
	id := f.sub.Outage()
	if id == 0 || id == k.told {
		return nil
	}
	k.told = id
	return k.send(errorFrame(k.server.problem(streams.ErrUnavailable), "", nil))
}

// outage asks the log again later, and tells the client once.
func (k *socket) outage(f *roomFollow, err error) error {
	if !errors.Is(err, streams.ErrUnavailable) {
		return err
	}
	if id := f.sub.Outage(); f.backoff == 0 && (id == 0 || id != k.told) {
		k.told = id
		k.server.logFailure(err)
		if err := k.send(errorFrame(k.server.problem(err), "", nil)); err != nil {
			return err
		}
	}
	f.backoff = longer(f.backoff)
	f.retry = time.AfterFunc(jittered(f.backoff), func() { k.markReady(f) })
	return nil
}

// end closes the follow. The writer calls it.
func (f *roomFollow) end() {
	f.gone = true
	if f.retry != nil {
		f.retry.Stop()
	}
	f.sub.Close()
}

// ping asks the client for a sign of life. After two without one it is gone,
// whatever TCP believes.
func (k *socket) ping() error {
	if k.missed.Add(1) > 2 {
		return errors.New("two pings went unanswered")
	}
	return k.ws.WriteControl(websocket.PingMessage, nil, k.writeDeadline())
}

// pong answers a client's ping. (gorilla's own answer gives up the connection of
// a client that does not read for a second.)
func (k *socket) pong(payload string) error {
	k.missed.Store(0)
	err := k.ws.WriteControl(websocket.PongMessage, []byte(payload), k.writeDeadline())
	if errors.Is(err, websocket.ErrCloseSent) {
		return nil
	}
	return err
}

func (k *socket) writeDeadline() time.Time {
	return time.Now().Add(k.server.opts.WriteTimeout)
}

// position sends a cursor that is good for all rooms followed: in each partition
// the earliest of theirs.
func (k *socket) position() error {
	if len(k.follows) == 0 {
		return nil
	}
	earliest := make(map[streams.Partition]streams.ID)
	for _, f := range k.follows {
		if c, ok := f.sub.Position(); ok {
			f.pos = c.IDs()[0] // one room is in one partition
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
	return k.send(newFrame("position").cursor(replay.CursorAt(ids...).String()).end(nil))
}

// send writes one text frame. After an error part of it may be on the wire.
func (k *socket) send(text []byte) error {
	if err := k.ws.SetWriteDeadline(k.writeDeadline()); err != nil {
		return err
	}
	return k.ws.WriteMessage(websocket.TextMessage, text)
}
