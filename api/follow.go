package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// followRooms follows the rooms that the query names, the caller's inbox, and
// everyone's.
func (s *Server) followRooms(c echo.Context) error {
	c.Response().Header().Add(echo.HeaderVary, "Accept")
	if !accepts(c.Request(), mediaSSE, "text/*", "*/*") {
		return fmt.Errorf("%w: there is %s", problem.ErrAccept, mediaSSE)
	}
	names := c.QueryParams()["room"]
	if len(names) > s.opts.MaxRooms {
		return fmt.Errorf("%w: %d, want at most %d", problem.ErrTooManyRooms, len(names), s.opts.MaxRooms)
	}
	grant := s.grant(c)
	rooms := make([]streams.Room, 0, len(names)+2)
	add := func(room streams.Room) error {
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
		return problem.Authorize(grant, access.Subscribe, room)
	}
	for _, name := range names {
		room, err := streams.ParseRoom(name)
		if err != nil {
			return err
		}
		if err := add(room); err != nil {
			return err
		}
	}
	if inbox := grant.Inbox(); inbox != "" {
		if err := add(inbox); err != nil {
			return err
		}
	}
	if err := add(streams.BroadcastRoom); err != nil {
		return err
	}
	return s.follow(c, rooms, true)
}

// follow streams rooms to the client until one of them leaves. From here on what is
// wrong is told in the stream, for a browser does not come back from any status but
// 200.
func (s *Server) follow(c echo.Context, rooms []streams.Room, wrapped bool) error {
	start, err := startOf(c.Request(), time.Now())
	if err != nil {
		return err
	}
	if s.draining.Err() != nil {
		s.sendAway(c, problem.ErrDraining)
	}
	seat, err := s.admit(c)
	if err != nil {
		s.sendAway(c, err)
	}
	begun := false
	defer func() {
		if !begun {
			seat.Release()
		}
	}()
	f := &follower{line: line{server: s, over: overSSE, seat: seat}, rooms: rooms}
	f.sub, err = s.node.Subscribe(c.Request().Context(), rooms, start, func() { s.crew.wake(&f.task) })
	if err != nil {
		s.sendAway(c, err)
	}
	s.opened(c)
	f.encoder = newEncoder(wrapped, f.sub.InitialCursor())
	f.visit = visitOf(c)
	conn, err := f.takeOver(c.Response(), c.Request())
	if err != nil {
		f.sub.Close()
		return err
	}
	f.begin(conn, s.grant(c).Expires())
	begun = true
	stays(c, http.StatusOK)
	if f.finished == nil {
		go f.listen()
		return nil
	}
	f.listen()
	<-f.finished                // until then the stream is written to
	panic(http.ErrAbortHandler) // see sendAway
}

// sendAway ends a stream before it has begun, for the reason err, which the client
// is told. The stream is broken off: to some clients one that ends in order has ended
// for good (r3labs/sse and @microsoft/fetch-event-source, see tests/clients), and
// a connection that stays open would bring the client back to this node. It does not
// return.
func (s *Server) sendAway(c echo.Context, err error) {
	w := c.Response()
	visitOf(c).refused(problem.CodeOf(err))
	if !errors.Is(err, context.Canceled) { // somebody is there
		setStreamHeader(w.Header())
		w.WriteHeader(http.StatusOK)
		_, _ = w.Write(s.farewell(nil, err)) // the last word: nothing depends on it
		_ = http.NewResponseController(w).Flush()
	}
	panic(http.ErrAbortHandler) // net/http's way to break off
}

// farewell appends the blocks that send a client away, for the reason err.
func (s *Server) farewell(b []byte, err error) []byte {
	s.problems.LogFailure(err)
	wait := retryOutage
	switch {
	case errors.Is(err, problem.ErrDraining):
		wait = retryAway
	case errors.Is(err, limits.ErrAddressFull), errors.Is(err, limits.ErrUserFull):
		wait = retryTooMany
	case errors.Is(err, problem.ErrExpired):
		wait = retryNormal
	}
	return appendError(appendRetry(b, wait), s.problems.Document(err))
}

func setStreamHeader(h http.Header) {
	h.Set(echo.HeaderContentType, mediaSSE)
	h.Set(echo.HeaderCacheControl, "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // or nginx would hold events back
}

// A follower is a stream of events to one client. All of it belongs to its task.
type follower struct {
	line
	sub     *service.Subscription
	encoder *encoder

	rooms   []streams.Room // to be named in the first block; nil when they were
	head    []byte         // of the response; nil when it is written
	heard   [1]byte        // is for listen alone
	chunked bool           // what is written is chunks (HTTP/1.1), which tell an end from a break

	batch    service.Batch // taken, and not written yet
	silent   bool          // nothing was said for KeepAlive
	spoke    time.Time     // when something was said last
	why      error         // to send the client away; nil for no reason
	silence  *time.Timer
	expiry   *time.Timer // nil for a grant without end
	patience patience

	finished chan struct{} // closed by end, where a handler waits for it; else nil
}

// takeOver takes the connection over from net/http, as far as it is this client's: over
// HTTP/2 one stream of it, and then the handler has to stay until the end.
func (f *follower) takeOver(w *echo.Response, r *http.Request) (conn, error) {
	setStreamHeader(w.Header())
	if r.ProtoMajor > 1 {
		f.finished = make(chan struct{})
		w.WriteHeader(http.StatusOK)
		return newSharedConn(w.Writer, r), nil
	}
	f.chunked = r.ProtoAtLeast(1, 1)
	f.head = appendHead(nil, w.Header(), f.chunked)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", problem.ErrInternal, err)
	}
	return conn, nil
}

// begin starts the stream on conn. It ends when the grant does; the zero time is for
// never.
func (f *follower) begin(conn conn, expires time.Time) {
	s := f.server
	f.runner, f.out = f, newOutlet(conn, s.opts.WriteTimeout)
	f.silence = time.AfterFunc(s.opts.KeepAlive, func() { f.hint(hintSilence) })
	if !expires.IsZero() {
		f.expiry = time.AfterFunc(time.Until(expires), func() { f.hint(hintExpiry) })
	}
	s.metrics.connections[overSSE].Inc()
	s.requests.enter()
	s.lines.add(&f.line)
	s.crew.settle(&f.task, more)
}

// end is the last thing that a stream does.
func (f *follower) end() outcome {
	f.silence.Stop()
	if f.expiry != nil {
		f.expiry.Stop()
	}
	f.patience.end()
	f.sub.Close()
	_ = f.out.conn.Close()
	f.seat.Release()
	s := f.server
	s.lines.remove(&f.line)
	f.ended(nil)
	s.metrics.connections[overSSE].Dec()
	s.requests.leave()
	if f.finished != nil {
		close(f.finished)
	}
	return over
}

// listen returns when the client has gone, or the connection is closed. A client has
// nothing to say after its request, and what it says all the same is ignored.
func (f *follower) listen() {
	if _, err := f.out.conn.Read(f.heard[:]); err == nil {
		_, _ = io.Copy(io.Discard, f.out.conn)
	}
	_ = f.out.conn.Close() // a write may be blocked
	f.hint(hintGone)
}

// run implements runner. It writes what there is to say, once.
func (f *follower) run(d *desk) outcome {
	hints := f.hints.Swap(0)
	switch {
	case hints&hintGone != 0:
		return f.end()
	case f.dead:
		return rest
	}
	if hints&hintSilence != 0 {
		f.mindSilence()
	}
	if hints&hintLeave != 0 && f.why == nil {
		f.why = problem.ErrDraining
	}
	if hints&hintExpiry != 0 { // what was taken waits in the log for whoever comes back with a new token
		f.why, f.batch = problem.ErrExpired, service.Batch{}
	}
	b, body := f.open(d.buf[:0])
	b, o := f.fill(b, body, &d.load)
	d.buf = b[:0]
	if len(b) == body {
		return o
	}
	return f.say(d, f.close(b, body), o)
}

// mindSilence has the keep-alive said, if it is time for one. To set the timer at each
// write instead took 5 to 7 % of a broadcast's processor time.
func (f *follower) mindSilence() {
	left := f.server.opts.KeepAlive - time.Since(f.spoke)
	if f.silent = left <= 0; !f.silent {
		f.silence.Reset(left)
	}
}

// fill appends the blocks that there are, up to some maxWrite, to b, whose blocks
// begin at body.
func (f *follower) fill(b []byte, body int, carries *load) ([]byte, outcome) {
	if f.rooms != nil {
		b = f.encoder.open(b, f.server.node.Name(), f.rooms)
		f.rooms = nil
	}
	for len(b) < maxWrite {
		if f.batch.Empty() {
			if f.why != nil {
				f.visit.refused(problem.CodeOf(f.why))
				return f.server.farewell(b, f.why), over
			}
			batch, ok := f.sub.Ready()
			if !ok {
				return f.postpone(b, body)
			}
			f.patience.end()
			if batch.Empty() {
				return f.idle(b, body), rest
			}
			f.batch = batch
		}
		b = f.encode(b, carries)
		if f.batch.Empty() && !f.batch.More && f.why == nil {
			return b, rest
		}
	}
	return b, more
}

// encode appends what was taken, as far as it goes into one write.
func (f *follower) encode(b []byte, carries *load) []byte {
	b = appendItems(b, &f.batch, carries, f.encoder.item)
	if f.batch.Items == nil && f.batch.ReplayDone {
		f.batch.ReplayDone = false
		if c, ok := f.sub.Position(); ok {
			f.encoder.moved(c) // also for a client for whom there was nothing
		}
		b = f.encoder.live(b, f.batch.Replayed)
	}
	return b
}

// postpone has the log asked for what comes next, once all else is said.
func (f *follower) postpone(b []byte, body int) ([]byte, outcome) {
	switch {
	case len(b) > body:
		return b, more
	case f.silent && f.patience.wait > 0:
		return appendComment(b), more // the log may take its time
	}
	return b, f.lend(f.ask)
}

// ask waits for the log. The connection stays while the log does not answer, and the
// client is told once: what it misses is read when the log is back.
func (f *follower) ask() outcome {
	batch, err := f.sub.Next(f.server.cut)
	switch {
	case err == nil:
		f.patience.end()
		f.batch = batch
		return more
	case errors.Is(err, context.Canceled):
		return f.hangUp(err)
	case !errors.Is(err, streams.ErrUnavailable):
		f.why = err
		return more
	}
	first := f.patience.begin(func() { f.server.crew.wake(&f.task) })
	if !first || !f.failure(f.sub) {
		return rest
	}
	f.server.problems.LogFailure(err)
	b, body := f.open(nil)
	return f.sayNow(f.close(appendError(b, f.server.problems.Document(err)), body), rest)
}

// idle appends what is to be said when there is no event.
func (f *follower) idle(b []byte, body int) []byte {
	if f.outage(f.sub) {
		// There was nothing to ask the log, and yet: what others publish does not
		// come until it is back.
		b = appendError(b, f.server.problems.Document(streams.ErrUnavailable))
	}
	if len(b) == body && f.silent {
		b = f.keepAlive(b)
	}
	return b
}

// keepAlive moves the client's cursor on, so that the client of a quiet room does
// not come back with one that the log has long trimmed away.
func (f *follower) keepAlive(b []byte) []byte {
	c, ok := f.sub.Position()
	if !ok {
		return appendComment(b)
	}
	f.encoder.moved(c)
	return f.encoder.position(b)
}

// open begins a write. The blocks go from body on.
func (f *follower) open(b []byte) (_ []byte, body int) {
	b = append(b, f.head...)
	f.head = nil
	if f.chunked {
		b = append(b, chunkHead...)
	}
	return b, len(b)
}

// close ends a write that was begun with open.
func (f *follower) close(b []byte, body int) []byte {
	if f.chunked {
		b = closeChunk(b, body)
	}
	f.spoke = time.Now()
	if f.silent {
		f.silent = false
		f.silence.Reset(f.server.opts.KeepAlive)
	}
	return b
}

// A chunk of a chunked body (RFC 9112, 7.1) has its size before it, in as many
// digits as any size needs here.
const chunkHead = "00000000\r\n"

// closeChunk ends the chunk whose data begin at body, behind a chunkHead.
func closeChunk(b []byte, body int) []byte {
	const digits = "0123456789abcdef"
	for size, i := len(b)-body, body-3; size > 0; size, i = size>>4, i-1 {
		b[i] = digits[size&15]
	}
	return append(b, "\r\n"...)
}

// appendHead appends the head of the response that a stream is.
func appendHead(b []byte, h http.Header, chunked bool) []byte {
	w := bytes.NewBuffer(b)
	w.WriteString("HTTP/1.1 200 OK\r\n")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if chunked {
		h.Set("Transfer-Encoding", "chunked")
	} else {
		h.Set("Connection", "close")
	}
	_ = h.Write(w) // into memory
	w.WriteString("\r\n")
	return w.Bytes()
}
