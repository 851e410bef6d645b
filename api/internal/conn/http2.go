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

	"github.com/tidemark/tidemark/api/internal/peers"
)

// ResetWait is how long the reset of an HTTP/2 stream may take. A client that reads nothing
// from its TCP connection does not take the reset either. Then the write would wait, and
// hold its memory, until net/http gives the connection up.
const ResetWait = 250 * time.Millisecond

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
	writing atomic.Bool
	peer    *peers.Conn // the TCP connection; nil for that of a trusted proxy
}

// NewHTTP2Transport takes over the HTTP/2 stream that carries r. It discards all data that
// the client sends after its request.
func NewHTTP2Transport(w http.ResponseWriter, r *http.Request) Transport {
	_ = r.Body.Close()
	s := &http2Stream{w: w, control: http.NewResponseController(w), peer: peers.ConnOf(r.Context())}
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
	s.writing.Store(true)
	defer s.writing.Store(false)
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
// write. If the write has not ended after ResetWait, the TCP connection is stalled, and is
// closed.
func (s *http2Stream) Close() error {
	s.close.Do(func() {
		gone := s.ctx.Err() != nil
		s.cancel()
		s.overdue.Stop()
		if !gone {
			_ = s.control.SetWriteDeadline(time.Unix(1, 0)) // in the past: ends a blocked write
			time.AfterFunc(ResetWait, func() {
				if s.writing.Load() {
					s.peer.Abort()
				}
			})
		}
	})
	return nil
}
