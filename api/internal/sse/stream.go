package sse

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A Stream sends the events of rooms to one client. Its task owns it.
type Stream struct {
	conn.Conn
	server  *Server
	sub     *service.Subscription
	encoder *encoder

	// Fixed by Open.
	finished chan struct{} // HTTP/2: closed at the end, for the handler; else nil
	chunked  bool          // HTTP/1.1: chunks let the client tell an end from a broken connection

	silent  bool    // nothing was written for KeepAlive
	discard [1]byte // for read

	rooms []streams.Room // for the first block; nil once it is encoded
	head  []byte         // of the response; nil once it is written

	batch  service.Batch // taken from sub and not written yet
	wrote  time.Duration // the last write, since Env.Started
	reason error         // why the client must leave after batch; nil while it may stay
	retry  conn.Retry

	keepAlive *time.Timer
	expiry    *time.Timer // nil for a grant without an end
}

// read returns when the client has left or the transport is closed. It discards all data
// that the client sends after its request.
func (st *Stream) read() {
	if _, err := st.Transport().Read(st.discard[:]); err == nil {
		_, _ = io.Copy(io.Discard, st.Transport())
	}
	_ = st.Transport().Close() // a write may be blocked
	st.EndReading()
}

// Run implements conn.Runner.
func (st *Stream) Run(w *conn.Worker) conn.Result {
	reasons := st.TakeReasons()
	switch {
	case reasons.Has(conn.ReaderDone):
		return st.end()
	case st.Closed():
		return conn.Idle
	}
	if reasons.Has(conn.KeepAliveDue) {
		st.checkSilence()
	}
	if reasons.Has(conn.DrainRequested) && st.reason == nil {
		st.reason = problem.ErrDraining
	}
	if reasons.Has(conn.ExpiryDue) { // the batch stays in the log for a client with a new token
		st.reason, st.batch = problem.ErrExpired, service.Batch{}
	}
	b, body := st.begin(w.Buf[:0])
	b, next := st.fill(b, body, &w.Stats)
	w.Buf = b[:0]
	if len(b) == body {
		return next
	}
	return st.Send(w, st.finish(b, body), next)
}

// Held implements conn.Runner.
func (st *Stream) Held() int { return conn.DataSize(st.batch.Items) }

// Shed implements conn.Runner.
func (st *Stream) Shed() { st.sub.Shed() }

// end releases everything that the stream holds.
func (st *Stream) end() conn.Result {
	st.keepAlive.Stop()
	if st.expiry != nil {
		st.expiry.Stop()
	}
	st.retry.Stop()
	st.sub.Close()
	result := st.Finish(http.StatusOK, "")
	if st.finished != nil {
		close(st.finished)
	}
	return result
}

// checkSilence finds out whether a keep-alive is due. (Setting the timer at each write
// instead took 5 to 7 % of the processor time of a broadcast.)
func (st *Stream) checkSilence() {
	left := st.Env.KeepAlive - (time.Since(st.Env.Started) - st.wrote)
	if st.silent = left <= 0; !st.silent {
		st.keepAlive.Reset(left)
	}
}

// fill appends the blocks that are due to b, up to conn.MaxWrite, and returns the task's
// next result. The blocks of b begin at body.
func (st *Stream) fill(b []byte, body int, stats *conn.WriteStats) ([]byte, conn.Result) {
	if st.rooms != nil {
		b = st.encoder.open(b, st.server.Node.Name(), st.rooms)
		st.rooms = nil
	}
	for len(b) < conn.MaxWrite {
		if st.batch.Empty() {
			if st.reason != nil {
				if st.Recorder != nil {
					st.Recorder.EndReason(problem.CodeOf(st.reason))
				}
				return st.server.appendDrain(b, st.reason), conn.Closed
			}
			batch, ok := st.sub.Ready()
			if !ok {
				return st.readLog(b, body)
			}
			st.retry.Stop()
			if batch.Empty() {
				return st.idle(b, body), conn.Idle
			}
			st.batch = batch
		}
		b = st.encode(b, stats)
		if st.batch.Empty() && !st.batch.More && st.reason == nil {
			return b, conn.Idle
		}
	}
	return b, conn.Again
}

// encode appends the batch, as far as it fits into one write.
func (st *Stream) encode(b []byte, stats *conn.WriteStats) []byte {
	b = conn.AppendItems(b, &st.batch, stats, st.encoder.item)
	if st.batch.Items == nil && !st.batch.Live {
		st.sub.Encoded()
	}
	if st.batch.Items == nil && st.batch.ReplayDone {
		st.batch.ReplayDone = false
		if c, ok := st.sub.Position(); ok {
			st.encoder.advance(c) // the cursor moves even if there was no event to replay
		}
		b = st.encoder.live(b, st.batch.Replayed)
	}
	return b
}

// readLog detaches to read from the log. Blocks that are encoded are written first.
func (st *Stream) readLog(b []byte, body int) ([]byte, conn.Result) {
	switch {
	case len(b) > body:
		return b, conn.Again
	case st.silent && (st.retry.Active() || st.sub.AwaitsTurn()):
		return appendComment(b), conn.Again // the log, or a turn to read it, may take long
	}
	return b, st.Detach(st.awaitLog)
}

// awaitLog waits for the log. If the log does not answer, the client is told once and
// the stream stays open; missed events are read when the log is back.
func (st *Stream) awaitLog() conn.Result {
	ctx, done := st.WaitContext()
	batch, err := st.sub.Next(ctx)
	left := ctx.Err() != nil && st.Env.Cut.Err() == nil
	done()
	switch {
	case left:
		return conn.Again
	case err == nil:
		st.retry.Stop()
		st.batch = batch
		return conn.Again
	case errors.Is(err, context.Canceled):
		return st.HangUp(err)
	case errors.Is(err, service.ErrBusy): // the subscription wakes the task when it is its turn
		return conn.Idle
	case !errors.Is(err, streams.ErrUnavailable):
		st.reason = err
		return conn.Again
	}
	first := st.retry.Schedule(st.Wake)
	if !first || !st.NewFailure(st.sub) {
		return conn.Idle
	}
	st.Env.Problems.LogFailure(err)
	b, body := st.begin(nil)
	return st.SendBlocking(st.finish(appendError(b, st.Env.Problems.Document(err)), body), conn.Idle)
}

// idle appends the block that is due while there is no event.
func (st *Stream) idle(b []byte, body int) []byte {
	if st.NewOutage(st.sub) {
		// This stream needs nothing from the log, but events that other clients publish
		// do not arrive until the log is back.
		b = appendError(b, st.Env.Problems.Document(streams.ErrUnavailable))
	}
	if len(b) == body && st.silent {
		b = st.appendKeepAlive(b)
	}
	return b
}

// appendKeepAlive moves the client's cursor, so that the client of a quiet room does not
// resume from a cursor that the log has trimmed long ago.
func (st *Stream) appendKeepAlive(b []byte) []byte {
	c, ok := st.sub.Position()
	if !ok {
		return appendComment(b)
	}
	st.encoder.advance(c)
	return st.encoder.position(b)
}

// begin starts a write. Its blocks begin at body.
func (st *Stream) begin(b []byte) (_ []byte, body int) {
	b = append(b, st.head...)
	st.head = nil
	if st.chunked {
		b = append(b, chunkHead...)
	}
	return b, len(b)
}

// finish completes a write that begin started.
func (st *Stream) finish(b []byte, body int) []byte {
	if st.chunked {
		b = closeChunk(b, body)
	}
	st.wrote = time.Since(st.Env.Started)
	if st.silent {
		st.silent = false
		st.keepAlive.Reset(st.Env.KeepAlive)
	}
	return b
}
