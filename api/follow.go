package api

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// While the log does not answer, an open connection asks again after backoffFirst,
// doubling to backoffMost, each time a part of it at random.
const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// followRooms follows the rooms that the query names, and everyone's.
func (s *Server) followRooms(c echo.Context) error {
	c.Response().Header().Add(echo.HeaderVary, "Accept")
	if !accepts(c.Request(), mediaSSE, "text/*", "*/*") {
		return fmt.Errorf("%w: there is %s", errAccept, mediaSSE)
	}
	names := c.QueryParams()["room"]
	if len(names) > s.opts.MaxRooms {
		return fmt.Errorf("%w: %d, want at most %d", errTooManyRooms, len(names), s.opts.MaxRooms)
	}
	rooms := make([]streams.Room, 0, len(names)+1)
	for _, name := range append(slices.Clone(names), string(streams.Everyone)) {
		room, err := streams.ParseRoom(name)
		if err != nil {
			return err
		}
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
	}
	return s.follow(c, rooms, true)
}

// follow streams rooms to the client until one of them leaves. Once it writes, it
// reports nothing: what is wrong is told in the stream, for a browser does not
// come back from any status but 200.
func (s *Server) follow(c echo.Context, rooms []streams.Room, wrapped bool) error {
	start, err := startOf(c.Request(), time.Now())
	if err != nil {
		return err
	}
	ctx, cancel := s.lifetime(c.Request().Context())
	defer cancel()
	out := s.newOutlet(c.Response())
	defer out.close()
	startStream(c.Response())
	if s.draining.Err() != nil {
		s.sendAway(out, errDraining)
		return nil
	}
	wake := make(chan struct{}, 1)
	sub, err := s.node.Subscribe(ctx, rooms, start, func() {
		select {
		case wake <- struct{}{}:
		default: // it is to wake up already
		}
	})
	if err != nil {
		s.sendAway(out, err)
		return nil
	}
	defer sub.Close()
	leave, stop := s.departure()
	defer stop()
	f := &follower{
		server: s, out: out, sub: sub, wake: wake, leave: leave,
		encoder: newEncoder(wrapped, sub.Opening()),
		silence: time.NewTimer(s.opts.KeepAlive),
	}
	defer f.silence.Stop()
	s.sendAway(out, f.run(ctx, rooms))
	return nil
}

// startStream sends the headers of a stream.
func startStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set(echo.HeaderContentType, mediaSSE)
	h.Set(echo.HeaderCacheControl, "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // or nginx would hold events back
	w.WriteHeader(http.StatusOK)
}

// sendAway ends a stream for the reason err, told to the client if there still is
// one. The stream is broken off: to some clients one that ends in order has ended
// for good (r3labs/sse and @microsoft/fetch-event-source, see tests/clients), and
// a connection that stays open would bring the client back to this node.
func (s *Server) sendAway(out *outlet, err error) {
	var gone *clientGone
	if errors.As(err, &gone) || errors.Is(err, context.Canceled) {
		return
	}
	s.logFailure(err)
	p := s.problem(err)
	wait := retryOutage
	if errors.Is(err, errDraining) {
		wait = retryAway
	}
	_ = out.write(appendError(appendRetry(nil, wait), p)) // the last word: nothing depends on it
	panic(http.ErrAbortHandler)                           // net/http's way to break off
}

// A clientGone is a write that failed: whoever was there is not any more.
type clientGone struct{ err error }

func (g *clientGone) Error() string { return "the client has gone: " + g.err.Error() }

// A follower is one SSE connection. It belongs to the goroutine of its request.
type follower struct {
	server  *Server
	out     *outlet
	sub     *service.Subscription
	encoder *encoder
	wake    <-chan struct{} // the subscription has something
	leave   <-chan struct{} // closed when the client is to be sent away
	silence *time.Timer     // fires when nothing was written for KeepAlive
	buf     []byte

	backoff time.Duration // before the log is asked again; 0 while it answers
	told    uint64        // the outage of the log that the client was told of last
}

// run streams until there is a reason to stop, and returns it.
func (f *follower) run(ctx context.Context, rooms []streams.Room) error {
	connections := f.server.metrics.connections.WithLabelValues(transportSSE)
	connections.Inc()
	defer connections.Dec()
	err := f.write(f.encoder.open(nil, f.server.node.Name(), rooms))
	for err == nil {
		err = f.step(ctx)
	}
	return err
}

// step delivers a batch, or waits if there is none.
func (f *follower) step(ctx context.Context) error {
	batch, err := f.sub.Next(ctx)
	if err != nil {
		return f.outage(ctx, err)
	}
	f.backoff = 0
	if batch.Empty() {
		if err := f.tellOutage(); err != nil {
			return err
		}
		return f.wait(ctx, nil)
	}
	if err := f.deliver(batch); err != nil {
		return err
	}
	select { // a stream that never pauses is sent away too
	case <-f.leave:
		return errDraining
	default:
		return nil
	}
}

// deliver writes a batch: at once, unless it is large.
func (f *follower) deliver(batch service.Batch) error {
	events := 0
	b := f.buf[:0]
	for _, it := range batch.Items {
		b = f.encoder.item(b, it)
		if it.Event != nil {
			events++
		}
		if len(b) >= maxWrite {
			if err := f.write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	if batch.Live {
		if c, ok := f.sub.Position(); ok {
			f.encoder.cursor = c // also that of a client for whom there was nothing
		}
		b = f.encoder.live(b, batch.Replayed)
	}
	f.server.metrics.delivered.WithLabelValues(transportSSE).Add(float64(events))
	f.buf = b
	if len(b) == 0 {
		return nil
	}
	return f.write(b)
}

// wait returns when there may be something to deliver, or at the time of again.
// What the client must hear in between it is told.
func (f *follower) wait(ctx context.Context, again <-chan time.Time) error {
	if again == nil {
		f.buf = nil // an idle connection holds no buffer
	}
	select {
	case <-f.wake:
		return nil
	case <-again:
		return nil
	case <-f.silence.C:
		return f.keepAlive()
	case <-f.leave:
		return errDraining
	case <-ctx.Done():
		return ctx.Err()
	}
}

// keepAlive moves the client's cursor on, so that the client of a quiet room does
// not come back with one that the log has long trimmed away.
func (f *follower) keepAlive() error {
	c, ok := f.sub.Position()
	if !ok {
		return f.write(appendComment(nil))
	}
	f.encoder.cursor = c
	return f.write(f.encoder.position(nil))
}

// tellOutage tells the client, once, that the log does not answer, although there
// was nothing to ask it: what others publish does not come until it is back.
func (f *follower) tellOutage() error {
	id := f.sub.Outage()
	if id == 0 || id == f.told {
		return nil
	}
	f.told = id
	return f.write(appendError(nil, f.server.problem(streams.ErrUnavailable)))
}

// outage waits for a log that does not answer, and tells the client once. The
// connection stays: what it misses is read when the log is back.
func (f *follower) outage(ctx context.Context, err error) error {
	if !errors.Is(err, streams.ErrUnavailable) {
		return err
	}
	if id := f.sub.Outage(); f.backoff == 0 && (id == 0 || id != f.told) {
		f.told = id
		f.server.logFailure(err)
		if err := f.write(appendError(nil, f.server.problem(err))); err != nil {
			return err
		}
	}
	f.backoff = longer(f.backoff)
	return f.wait(ctx, time.After(jittered(f.backoff)))
}

func (f *follower) write(b []byte) error {
	if err := f.out.write(b); err != nil {
		return &clientGone{err}
	}
	f.silence.Reset(f.server.opts.KeepAlive)
	return nil
}

// longer returns the back-off after one of d.
func longer(d time.Duration) time.Duration {
	return min(max(2*d, backoffFirst), backoffMost)
}

// jittered returns a time from half of d up to d.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2) }
