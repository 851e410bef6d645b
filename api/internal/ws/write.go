package ws

import (
	"errors"
	"slices"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// fill appends the frames that are due to b, up to conn.MaxWrite, and returns the task's
// next result.
func (k *Session) fill(b []byte, s state, stats *conn.WriteStats) ([]byte, conn.Result) {
	for _, a := range k.queues.takeAnswers() {
		if a.frame != nil {
			b = appendFrame(b, websocket.TextMessage, a.frame)
		}
		k.apply(a)
	}
	pong, closeFrame := k.queues.takeControl()
	b = append(append(b, pong...), closeFrame...)
	if closeFrame != nil {
		return b, conn.Again
	}
	b, stuck := k.appendDue(b)
	if stuck {
		return b, conn.Closed
	}
	if s >= stateExpired {
		return b, conn.Idle
	}
	for len(b) < conn.MaxWrite {
		s := k.queues.takeReady()
		if s == nil {
			return b, conn.Idle
		}
		var readLog bool
		if b, readLog = k.appendEvents(b, s, stats); readLog {
			if len(b) > 0 {
				k.markReady(s)
				return b, conn.Again
			}
			return b, k.Detach(func() conn.Result { return k.awaitLog(s) })
		}
	}
	return b, conn.Again
}

// apply begins or ends the subscription that comes with an answer. No event of a room is
// sent before the answer to its subscribe or after the answer to its unsubscribe.
func (k *Session) apply(a answer) {
	if a.begin != nil {
		k.subs = append(k.subs, a.begin)
		k.markReady(a.begin)
	}
	if i := slices.IndexFunc(k.subs, func(s *roomSub) bool { return s.room == a.end }); i >= 0 {
		k.subs[i].close()
		k.subs = slices.Delete(k.subs, i, i+1)
	}
}

// appendDue appends the frames that timers ask for. stuck means that the client has not
// answered two pings and must be disconnected, even if TCP still considers it connected.
func (k *Session) appendDue(b []byte) (_ []byte, stuck bool) {
	due := k.due
	k.due &= conn.ReaderDone
	if due.Has(conn.KeepAliveDue) {
		k.keepAlive.Reset(k.Env.KeepAlive)
		b = k.appendPosition(b)
	}
	if due.Has(conn.ExpiryDue) {
		b = k.appendError(b, problem.ErrExpiring)
	}
	if due.Has(conn.PingDue) {
		k.ping.Reset(k.server.opts.PingEvery)
		if k.unanswered.Add(1) > 2 {
			if k.Recorder != nil {
				k.Recorder.EndReason(conn.ClientStuck)
			}
			return b, true
		}
		b = appendFrame(b, websocket.PingMessage, nil)
	}
	return b, false
}

// appendEvents appends the next events of a room. readLog means that they are not in
// memory.
func (k *Session) appendEvents(b []byte, s *roomSub, stats *conn.WriteStats) (_ []byte, readLog bool) {
	if s.batch.Empty() {
		batch, ok := s.sub.Ready()
		if !ok {
			return b, true
		}
		s.retry.Stop()
		if batch.Empty() {
			if k.NewOutage(s.sub) {
				b = k.appendError(b, streams.ErrUnavailable)
			}
			return b, false
		}
		s.batch = batch
	}
	b = s.encode(b, stats)
	switch {
	case !s.batch.Empty():
		k.markUnfinished(s)
	case s.batch.More:
		k.markReady(s)
	}
	return b, false
}

// awaitLog waits for the log. If the log does not answer, the client is told once for all
// its rooms, and the session stays open.
func (k *Session) awaitLog(s *roomSub) conn.Result {
	ctx, done := k.WaitContext()
	batch, err := s.sub.Next(ctx)
	left := ctx.Err() != nil && k.Env.Cut.Err() == nil
	done()
	switch {
	case left:
		return conn.Again // for the answers that remain
	case err == nil:
		s.retry.Stop()
		s.batch = batch
		k.markUnfinished(s)
		return conn.Again
	case errors.Is(err, service.ErrBusy): // s is ready again when it is its turn
		return conn.Again
	case !errors.Is(err, streams.ErrUnavailable):
		return k.HangUp(err)
	}
	first := s.retry.Schedule(func() { k.markReady(s) })
	if !first || !k.NewFailure(s.sub) {
		return conn.Again
	}
	k.Env.Problems.LogFailure(err)
	return k.SendBlocking(k.appendError(nil, err), conn.Again)
}

func (k *Session) appendError(b []byte, err error) []byte {
	return appendFrame(b, websocket.TextMessage, errorFrame(k.Env.Problems.Document(err), "", nil))
}

// appendPosition appends a cursor that is valid for all rooms of the session.
func (k *Session) appendPosition(b []byte) []byte {
	if len(k.subs) == 0 {
		return b
	}
	return appendFrame(b, websocket.TextMessage, newFrame("position").cursor(cursorOf(k.subs).String()).end(nil))
}
