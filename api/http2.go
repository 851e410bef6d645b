package api

import (
	"context"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A sharedConn is one stream of an HTTP/2 connection (RFC 9113) in the shape of a
// connection that was taken over from net/http, which this one can't be: other requests
// share it. A write waits while the client's flow control has no room for it.
//
// It may be used until the request's handler returns, and Close has been called then.
type sharedConn struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context // ends when the stream does, and by Close
	cancel  context.CancelFunc
	once    sync.Once // of Close
	overdue *time.Timer
	late    atomic.Bool // overdue has closed it
}

// newSharedConn takes over the stream that carries r. What the client sends after its
// request is dropped, as far as its flow control lets it send any.
func newSharedConn(w http.ResponseWriter, r *http.Request) *sharedConn {
	_ = r.Body.Close()
	c := &sharedConn{w: w, control: http.NewResponseController(w)}
	c.ctx, c.cancel = context.WithCancel(r.Context())
	_ = c.control.SetWriteDeadline(time.Time{}) // the request had one
	c.overdue = time.AfterFunc(math.MaxInt64, func() {
		c.late.Store(true)
		_ = c.Close()
	})
	c.overdue.Stop()
	return c
}

// Read returns io.EOF when the client has left the stream, or it is closed.
func (c *sharedConn) Read([]byte) (int, error) {
	<-c.ctx.Done()
	return 0, io.EOF
}

// Write returns when b is written to the connection. Until then the stream owes it, so
// that a client that does not take it costs no more than b. The error is
// os.ErrDeadlineExceeded only where the deadline has ended it.
func (c *sharedConn) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	if err == nil {
		err = c.control.Flush()
	}
	if err != nil && c.ctx.Err() != nil && !c.late.Load() {
		err = net.ErrClosed // for net/http, what Close does is a deadline too
	}
	return n, err
}

// SetWriteDeadline has the stream broken off at t, unless it is called again before. (The
// deadlines of net/http cost a message to the connection's goroutine each.)
func (c *sharedConn) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		c.overdue.Stop()
	} else {
		c.overdue.Reset(time.Until(t))
	}
	return nil
}

// Close breaks the stream off (RST_STREAM), behind what was written, and ends a write
// that waits for the client. Closing again does nothing.
func (c *sharedConn) Close() error {
	c.once.Do(func() {
		gone := c.ctx.Err() != nil
		c.cancel()
		c.overdue.Stop()
		if !gone {
			_ = c.control.SetWriteDeadline(time.Unix(1, 0)) // long ago
		}
	})
	return nil
}
