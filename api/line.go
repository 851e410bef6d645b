package api

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
)

// A line is a client's connection that stays, taken over from net/http: what a
// stream and a socket have in common. What is done for the client is done by its
// task, which owns all of it but the conn. Beside it there is one goroutine, which
// does nothing but read: it ends when the client does, or when the connection is
// closed, and then the line does.
type line struct {
	task
	server *Server
	out    *outlet
	seat   *limits.Slot // given back at the end
	hints  atomic.Uint32
	over   transport

	// Owned by the task.
	dead  bool   // closed; what is left is to wait for the reader
	told  uint64 // the outage of the log that the client was told of last
	visit *visit // nil without an access log
}

// What a line is to look at when it runs.
const (
	hintSilence uint32 = 1 << iota // nothing was said for KeepAlive
	hintPing                       // it is time for one
	hintLeave                      // the client is to be sent away
	hintGone                       // the reader has ended
	hintExpiry                     // the grant ends, or is about to
)

// hint has the line look at what bit says. It may be called by anyone.
func (l *line) hint(bit uint32) {
	l.hints.Or(bit)
	l.server.crew.wake(&l.task)
}

// appendItems appends what was taken, as far as it goes into one write, and notes it in
// load. What is left stays in batch.
func appendItems(b []byte, batch *service.Batch, load *load, item func([]byte, replay.Item) []byte) []byte {
	items := batch.Items
	for len(items) > 0 && len(b) < maxWrite {
		b = item(b, items[0])
		if e := items[0].Event; e != nil {
			load.add(e, batch.Live)
		}
		items = items[1:]
	}
	if batch.Items = items; len(items) == 0 {
		batch.Items = nil // an idle connection holds nothing
	} else {
		batch.More = true // a call that comes before these are written is lost
	}
	return b
}

// errSaid is why a connection ends to whose client nothing more is to be said.
var errSaid = errors.New("all is said")

// say writes b, without waiting where the client takes it at once. o is what comes
// then; over is to hang up. d has what the write carries, and counts it.
func (l *line) say(d *desk, b []byte, o outcome) outcome {
	carried := d.load
	l.visit.wrote(len(b), carried)
	n, err := l.out.offer(b)
	if err == nil && n < len(b) {
		left := bytes.Clone(b[n:]) // b is the worker's
		return l.lend(func() outcome { return l.write(left, carried, o) })
	}
	return l.wrote(&d.tally, carried, err, o)
}

// sayNow is say for who may wait, and for what is no event.
func (l *line) sayNow(b []byte, o outcome) outcome {
	l.visit.wrote(len(b), load{})
	return l.write(b, load{}, o)
}

// write waits for the client to take b.
func (l *line) write(b []byte, carried load, o outcome) outcome {
	var t tally
	defer l.server.metrics.deliveries.take(&t)
	return l.wrote(&t, carried, l.out.write(b), o)
}

// wrote counts in t a write that ended with err, and does what comes then.
func (l *line) wrote(t *tally, carried load, err error, o outcome) outcome {
	if err != nil {
		t.fail(l.over, carried)
		return l.hangUp(err)
	}
	t.write(l.over, carried)
	return l.said(o)
}

func (l *line) said(o outcome) outcome {
	if o == over {
		return l.hangUp(errSaid)
	}
	return o
}

// lend runs f, which may wait, in a goroutine of its own: for the time being it is
// the task.
func (l *line) lend(f func() outcome) outcome {
	c := l.server.crew
	c.start(func() {
		c.settle(&l.task, func() (o outcome) {
			defer l.rescue(&o)
			return f()
		}())
	})
	return lent
}

// panicked implements runner, and ends the connection.
func (l *line) panicked(value any) outcome {
	l.server.logPanic(value)
	return l.hangUp(problem.ErrInternal)
}

// hangUp closes the connection: the client is not there any more, or was told why.
func (l *line) hangUp(err error) outcome {
	l.server.opts.Logger.Debug("connection ends", "reason", err)
	l.visit.hungUp(err)
	l.dead = true
	_ = l.out.conn.Close() // which ends the reader
	return more
}

// outage reports whether the log is away, as far as it concerns sub, and the client
// has not been told so yet. It has from now on.
func (l *line) outage(sub *service.Subscription) bool {
	id := sub.Outage()
	if id == 0 || id == l.told {
		return false
	}
	l.told = id
	return true
}

// failure is outage for a log that has just failed to answer: the node may not know
// of an outage yet.
func (l *line) failure(sub *service.Subscription) bool {
	return l.outage(sub) || sub.Outage() == 0
}

// A patience is with a log that does not answer: it is asked again after
// backoffFirst, doubling to backoffMost, each time a part of it at random.
type patience struct {
	wait  time.Duration // before it was asked last; 0 while it answers
	timer *time.Timer
}

const (
	backoffFirst = 100 * time.Millisecond
	backoffMost  = 5 * time.Second
)

// begin has ask called later. first says that the log answered before.
func (p *patience) begin(ask func()) (first bool) {
	first = p.wait == 0
	if !first {
		p.timer.Stop() // somebody else has woken the asker
	}
	p.wait = min(max(2*p.wait, backoffFirst), backoffMost)
	p.timer = time.AfterFunc(p.wait/2+rand.N(p.wait/2), ask)
	return first
}

// end has nothing called any more: the log answers, or nobody asks.
func (p *patience) end() {
	if p.wait != 0 {
		p.timer.Stop()
		*p = patience{}
	}
}

// lines are the connections that stay.
type lines struct {
	mu      sync.Mutex // guards the fields below
	all     map[*line]struct{}
	leaving bool
}

// add notes a line. It is sent away if all are.
func (s *lines) add(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[*line]struct{})
	}
	s.all[l] = struct{}{}
	if s.leaving {
		l.hints.Or(hintLeave)
	}
}

func (s *lines) remove(l *line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, l)
}

// sendAway has every line leave, each at a random moment of spread, and those that
// are added later at once.
func (s *lines) sendAway(spread time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	for l := range s.all {
		time.AfterFunc(rand.N(max(spread, 1)), func() { l.hint(hintLeave) })
	}
}

// cut closes every connection.
func (s *lines) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.all {
		_ = l.out.conn.Close()
	}
}
