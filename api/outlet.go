package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// An outlet writes to one client of an HTTP response, each write within a time
// limit, and can be cut from another goroutine: a blocked write then ends.
type outlet struct {
	// Fixed by newOutlet.
	w       http.ResponseWriter
	control *http.ResponseController
	limit   time.Duration
	stop    func() bool

	mu  sync.Mutex // guards the write deadline and the field below
	cut bool
}

// newOutlet returns an outlet to w that the server's cut ends. The caller closes it.
func (s *Server) newOutlet(w http.ResponseWriter) *outlet {
	o := &outlet{w: w, control: http.NewResponseController(w), limit: s.opts.WriteTimeout}
	o.stop = context.AfterFunc(s.cut, o.end)
	// A stream outlives whatever time the server allows for reading a request.
	_ = o.control.SetReadDeadline(time.Time{})
	return o
}

func (o *outlet) close() { o.stop() }

// end makes the write in progress, and each later one, fail.
func (o *outlet) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cut = true
	_ = o.control.SetWriteDeadline(time.Now()) // not every writer has deadlines
}

// write sends b and flushes it. After an error part of b may be sent.
func (o *outlet) write(b []byte) error {
	o.extend()
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	return o.control.Flush()
}

func (o *outlet) extend() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.cut {
		_ = o.control.SetWriteDeadline(time.Now().Add(o.limit))
	}
}
