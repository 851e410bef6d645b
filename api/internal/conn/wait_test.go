package conn

import (
	"context"
	"testing"
)

// A wait of a detached task ends when the reader ends, before or during the wait, and with
// the server.
func TestWaitEndsWithTheReader(t *testing.T) {
	cut, stop := context.WithCancel(t.Context())
	newConn := func() *Conn {
		c := &Conn{Env: &Env{Cut: cut}}
		c.task.state.Store(stateClosed) // waking it does nothing
		return c
	}
	c := newConn()
	first, done := c.WaitContext()
	done()
	second, done := c.WaitContext()
	if first.Err() == nil || second.Err() != nil {
		t.Fatalf("after done: %v; during the next wait: %v", first.Err(), second.Err())
	}
	c.EndReading()
	if second.Err() == nil {
		t.Error("the wait goes on after the end of the reader")
	}
	done()
	third, done := c.WaitContext()
	if third.Err() == nil {
		t.Error("a wait began after the end of the reader")
	}
	done()
	if !WakeReason(c.reasons.Load()).Has(ReaderDone) {
		t.Error("the task does not learn that the reader has ended")
	}

	last, done := newConn().WaitContext()
	defer done()
	stop()
	if last.Err() == nil {
		t.Error("the wait goes on after the end of the server")
	}
}
