package conn

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

// An http2Stream is one stream of an HTTP/2 connection (RFC 9113). The connection itself
// cannot be taken over, because other requests share it. A write waits while the client's
// flow control has no room for it.
//
// It may be used until the request's handler returns. Close must be called before that.
type http2Stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	ctx     context.Context // ends when the stream does, and by Close
	cancel  context.CancelFunc
	close   sync.Once
	overdue *time.Timer // closes the stream at the write deadline
	late    atomic.Bool // overdue has closed it
}

// NewHTTP2Transport takes over the HTTP/2 stream that carries r. It discards all data that
// the client sends after its request.
func NewHTTP2Transport(w http.ResponseWriter, r *http.Request) Transport {
	_ = r.Body.Close()
	s := &http2Stream{w: w, control: http.NewResponseController(w)}
	s.ctx, s.cancel = context.WithCancel(r.Context())
	_ = s.control.SetWriteDeadline(time.Time{}) // clear the one of the request
	s.overdue = time.AfterFunc(math.MaxInt64, func() {
		s.late.Store(true)
		_ = s.Close()
	})
	s.overdue.Stop()
	return s
}

// Read returns io.EOF when the client has left the stream, or the stream is closed.
func (s *http2Stream) Read([]byte) (int, error) {
	<-s.ctx.Done()
	return 0, io.EOF
}

// Write returns when b is written to the connection, so a client that reads nothing holds
// no more memory than b. It returns os.ErrDeadlineExceeded only if the write deadline has
// ended it.
func (s *http2Stream) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	if err == nil {
		err = s.control.Flush()
	}
	if err != nil && s.ctx.Err() != nil && !s.late.Load() {
		err = net.ErrClosed // net/http reports the deadline that Close has set
	}
	return n, err
}

// SetWriteDeadline resets the stream at t unless it is called again before. It does not use
// net/http's deadlines: each costs a message to the goroutine of the connection.
func (s *http2Stream) SetWriteDeadline(t time.Time) error {
	if t.IsZero() {
		s.overdue.Stop()
	} else {
		s.overdue.Reset(time.Until(t))
	}
	return nil
}

// Close resets the stream (RST_STREAM) after the data already written, and ends a blocked
// write.
func (s *http2Stream) Close() error {
	s.close.Do(func() {
		gone := s.ctx.Err() != nil
		s.cancel()
		s.overdue.Stop()
		if !gone {
			_ = s.control.SetWriteDeadline(time.Unix(1, 0)) // in the past: ends a blocked write
		}
	})
	return nil
}
