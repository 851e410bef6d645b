package api

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/peers"
	"github.com/tidemark/tidemark/limits"
)

const (
	// smallAnswer is the size, in bytes, up to which an answer over HTTP/1.1 is not counted:
	// its connection takes more.
	smallAnswer = 8 << 10
	// requestSize is about the memory, in bytes, of an HTTP/2 request whose answer waits for
	// its client.
	requestSize = 16 << 10
	// strangerWait is how long a client without a valid credential may take to accept an
	// answer.
	strangerWait = 10 * time.Second
)

// answers writes whole answers. An answer whose client does not take it holds a share of
// unsent. If the pool takes the share away, the answer ends early, and the client sees that
// it is incomplete.
type answers struct{ unsent *limits.MemoryPool }

// writeJSON writes an answer in JSON.
func (a answers) writeJSON(c echo.Context, status int, body []byte) {
	c.Response().Header().Set(echo.HeaderContentType, mediaJSON)
	a.write(c, status, body)
}

// write writes an answer whose header is set except for Content-Length. It reports no error:
// an error means that the client has left, or that the answer lost its share.
func (a answers) write(c echo.Context, status int, body []byte) {
	r, w := c.Request(), c.Response()
	http2 := r.ProtoMajor > 1
	w.Header().Set(echo.HeaderContentLength, strconv.Itoa(len(body)))
	if !http2 && len(body) <= smallAnswer {
		w.WriteHeader(status)
		_, _ = w.Write(body)
		return
	}
	control := http.NewResponseController(w.Writer)
	size := len(body)
	if http2 {
		clear(r.Header) // net/http keeps the request until the client has taken the answer
		size += requestSize
	}
	if grantOf(c) == nil {
		_ = control.SetWriteDeadline(time.Now().Add(strangerWait))
	}
	ender := &writeEnder{control: control, peer: peers.ConnOf(r.Context())}
	defer ender.disarm()
	share := a.unsent.Hold(int64(size), ender.end)
	defer share.Release()
	w.WriteHeader(status)
	if _, err := w.Write(body); err == nil && http2 {
		_ = control.Flush() // otherwise net/http waits for the client after the handler
	}
}

// A writeEnder ends the blocked write of an answer. It does nothing after the handler has
// returned: net/http does not allow that.
type writeEnder struct {
	control *http.ResponseController
	peer    *peers.Conn // the TCP connection; nil for that of a trusted proxy

	mu       sync.Mutex // guards disarmed
	disarmed bool
}

// end makes a write fail that waits for the client. Over HTTP/2 the client may not take the
// reset of the stream either. Then end closes the TCP connection a little later. Any
// goroutine may call it.
func (e *writeEnder) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.disarmed {
		return
	}
	_ = e.control.SetWriteDeadline(time.Unix(1, 0)) // in the past
	time.AfterFunc(conn.ResetWait, e.abort)
}

func (e *writeEnder) abort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.disarmed {
		e.peer.Abort()
	}
}

func (e *writeEnder) disarm() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disarmed = true
}
