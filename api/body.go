package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
)

const (
	// maxFirstRead bounds the memory, in bytes, that a Content-Length alone can make the
	// server allocate.
	maxFirstRead = 8 << 10
	// maxUncounted is the largest memory, in bytes, that Options.BodiesMemory does not count:
	// the connection takes more. A small publish so costs no lock of the pool.
	maxUncounted = 2 * (maxFirstRead + bytes.MinRead)
	// bodyStep is how many bytes must arrive until a body has made progress.
	bodyStep = 64 << 10
)

// aLongTimeAgo is a deadline that has passed.
var aLongTimeAgo = time.Unix(1, 0)

// A bodyMemory is the memory that a request's body takes: its text, and later the drafts
// parsed from it. The node may take it away until release, which ends the reading of the
// body and the publish of its events.
type bodyMemory struct {
	pool  *limits.MemoryPool
	bytes int                 // of all grow calls
	share *limits.MemoryShare // nil within maxUncounted

	taken context.Context // ends when the memory is taken away; nil while share is
	take  context.CancelFunc

	mu      sync.Mutex               // guards control
	control *http.ResponseController // nil unless the body is being read
}

// grow adds n bytes. It counts as progress. Only the goroutine of the request calls it.
func (m *bodyMemory) grow(n int) {
	m.bytes += n
	switch {
	case m.pool == nil || m.bytes <= maxUncounted:
	case m.share != nil:
		m.share.Grow(int64(n))
	default:
		m.taken, m.take = context.WithCancel(context.Background())
		m.share = m.pool.Hold(int64(m.bytes), m.evict)
	}
}

// evict ends the reading of the body and the publish. Any goroutine may call it.
func (m *bodyMemory) evict() {
	m.take()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.control != nil {
		_ = m.control.SetReadDeadline(aLongTimeAgo)
	}
}

// wasRead notes that nothing reads the body any more: the deadlines of the connection now
// belong to net/http.
func (m *bodyMemory) wasRead() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.control = nil
}

// wasTaken reports whether the memory was taken away.
func (m *bodyMemory) wasTaken() bool {
	return m != nil && m.taken != nil && m.taken.Err() != nil
}

// err returns problem.ErrOverloaded if the memory was taken away before the publish began.
func (m *bodyMemory) err() error {
	if !m.wasTaken() {
		return nil
	}
	return fmt.Errorf("%w: nothing was stored; repeat the request", problem.ErrOverloaded)
}

// release gives the memory back. It must be called before the handler returns.
func (m *bodyMemory) release() {
	if m.share != nil {
		m.share.Release()
		m.take()
	}
}

// readBody returns the request's JSON body of at most limit bytes, and its memory, which the
// caller must release when the request is answered. It waits at most Options.BodyTimeout for
// the client.
func (p *publisher) readBody(c echo.Context, limit int) (text []byte, m *bodyMemory, err error) {
	r, w := c.Request(), c.Response().Writer
	if err := checkJSON(r.Header); err != nil {
		return nil, nil, err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(p.opts.BodyTimeout)) // not every writer supports deadlines
	stop := context.AfterFunc(p.life.cut, func() { _ = control.SetReadDeadline(aLongTimeAgo) })
	defer stop()
	m = &bodyMemory{pool: p.bodies, control: control}
	text, err = m.read(http.MaxBytesReader(w, r.Body, int64(limit)), r.ContentLength, limit)
	m.wasRead()
	var tooLarge *http.MaxBytesError
	switch {
	case m.err() != nil:
		err = m.err()
	case errors.As(err, &tooLarge):
		err = fmt.Errorf("%w: want at most %d bytes", problem.ErrBodyTooLarge, limit)
	case err != nil:
		err = fmt.Errorf("%w: it ended early or took too long", problem.ErrBody)
	}
	if err != nil {
		m.release()
		return nil, nil, err
	}
	// From here on net/http watches the connection, and takes a deadline for its end.
	_ = control.SetReadDeadline(time.Time{})
	return text, m, nil
}

// read reads a body of at most limit bytes. length is its Content-Length, or -1.
func (m *bodyMemory) read(body io.Reader, length int64, limit int) ([]byte, error) {
	// With the right size from the start, a small body is read without copying. For a large
	// one the memory grows as it arrives.
	text := make([]byte, 0, min(max(length, 0), maxFirstRead)+bytes.MinRead)
	m.grow(cap(text))
	largest := limit + bytes.MinRead
	if 0 <= length && length < int64(limit) {
		largest = int(length) + bytes.MinRead
	}
	for {
		n, err := body.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		switch {
		case errors.Is(err, io.EOF):
			return text, nil
		case err != nil:
			return nil, err
		case m.err() != nil:
			return nil, m.err()
		case len(text) == cap(text):
			size := max(min(2*cap(text), largest), cap(text)+bytes.MinRead)
			m.grow(size - cap(text)) // before it is allocated
			text = append(make([]byte, 0, size), text...)
		case (len(text)-n)/bodyStep != len(text)/bodyStep:
			m.grow(0) // progress
		}
	}
}

// checkJSON refuses a body with a Content-Type other than JSON. None at all is accepted.
func checkJSON(h http.Header) error {
	contentType := h.Get(echo.HeaderContentType)
	if contentType == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" {
		return fmt.Errorf("%w: %.80q, want application/json", problem.ErrMediaType, contentType)
	}
	return nil
}
