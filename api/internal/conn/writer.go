package conn

import (
	"crypto/tls"
	"io"
	"syscall"
	"time"
)

// A Transport carries a client's bytes: a net.Conn, or one stream of an HTTP/2 connection.
// Close may be called from any goroutine and more than once. It ends a blocked Read and a
// blocked Write.
type Transport interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// A Writer is the write side of a connection that was taken over from net/http. Except for
// AwaitRead, one goroutine at a time may use it. Closing the transport, which any goroutine
// may do, ends a blocked write.
type Writer struct {
	// Fixed by NewWriter.
	transport Transport
	timeout   time.Duration      // of one blocking write
	raw       syscall.RawConn    // nil without a socket to ask, as with TLS and HTTP/2
	attempt   func(uintptr) bool // writeOnce; stored because a new method value costs an allocation per write

	// Of the write in progress.
	b   []byte
	n   int
	err error
}

// A tlsTransport closes at once. tls.Conn.Close sends an alert first and waits up to 5 s
// for a client that reads nothing.
type tlsTransport struct{ *tls.Conn }

func (t tlsTransport) Close() error { return t.NetConn().Close() }

// NewWriter returns a Writer on t whose blocking writes end after timeout.
func NewWriter(t Transport, timeout time.Duration) *Writer {
	if c, ok := t.(*tls.Conn); ok {
		t = tlsTransport{c}
	}
	w := &Writer{transport: t, timeout: timeout}
	if c, ok := t.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			w.raw, w.attempt = raw, w.writeOnce
		}
	}
	return w
}

// Offer writes as much of b as the system accepts without waiting, and returns how much.
// Over TLS and HTTP/2 that is nothing.
func (w *Writer) Offer(b []byte) (n int, err error) {
	if w.raw == nil || len(b) == 0 {
		return 0, nil
	}
	w.b, w.n, w.err = b, 0, nil
	if err := w.raw.Write(w.attempt); err != nil {
		return 0, err
	}
	w.b = nil
	return w.n, w.err
}

// writePiece is how much of a blocking write counts as progress, in bytes.
const writePiece = 64 << 10

// Write writes b. It waits for the client to make room, at most for the timeout; then it
// returns os.ErrDeadlineExceeded. It calls progress after each piece but the last.
func (w *Writer) Write(b []byte, progress func()) error {
	if err := w.transport.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return err
	}
	for len(b) > writePiece {
		if _, err := w.transport.Write(b[:writePiece]); err != nil {
			return err
		}
		b = b[writePiece:]
		progress()
	}
	if _, err := w.transport.Write(b); err != nil {
		return err
	}
	return w.transport.SetWriteDeadline(time.Time{}) // an expired deadline would make Offer fail
}

// AwaitRead returns when a read may return something, which may be the end. Meanwhile it
// holds less memory than a blocked read. Without a socket to ask it returns at once.
func (w *Writer) AwaitRead() {
	if w.raw != nil {
		_ = w.raw.Read(readable) // the read that follows reports the same error
	}
}
