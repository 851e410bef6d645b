package ws

import (
	"sync"
	"time"
)

// warnBefore is how long before the end of its token a client is told to send a new one.
const warnBefore = 30 * time.Second

// An expiry watches the end of a session's grant. The handler sets it, the task checks it.
type expiry struct {
	mu    sync.Mutex // guards the fields below
	end   time.Time  // zero for never
	timer *time.Timer
}

// set watches for end instead of the end set before; the zero time means never. due is
// called when check must be.
func (e *expiry) set(end time.Time, due func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
	e.end = end
	if !end.IsZero() {
		e.timer = time.AfterFunc(time.Until(end.Add(-warnBefore)), due)
	}
}

// check reports whether the client must be warned, or the grant has ended. Both are false
// if a new grant was set meanwhile.
func (e *expiry) check() (warn, expired bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch left := time.Until(e.end); {
	case e.end.IsZero() || left > warnBefore:
		return false, false
	case left > 0:
		e.timer.Reset(left)
		return true, false
	}
	return false, true
}
