package api

import (
	"crypto/tls"
	"io"
	"syscall"
	"time"
)

// A conn is what an outlet writes to, and its line reads from: a net.Conn, or one stream
// of HTTP/2. Anybody may close it, which ends a write and a read that wait.
type conn interface {
	io.ReadWriteCloser
	SetWriteDeadline(time.Time) error
}

// An outlet is the writing side of a connection that was taken over from net/http.
// But for awaitRead it is for one goroutine at a time; closing the connection, which anybody may do,
// ends a write that is blocked.
type outlet struct {
	// Fixed by newOutlet.
	conn  conn
	limit time.Duration      // for one write that waits
	raw   syscall.RawConn    // nil where there is no socket to ask, as with TLS and HTTP/2
	once  func(uintptr) bool // writeOnce; kept, for to make it anew would cost an allocation a write

	// Of the write in progress.
	b   []byte
	n   int
	err error
}

// A tlsConn closes at once. tls.Conn says good-bye before, and waits up to 5 s for a
// client that takes nothing; nobody who closes a line has the time.
type tlsConn struct{ *tls.Conn }

func (c tlsConn) Close() error { return c.NetConn().Close() }

func newOutlet(conn conn, limit time.Duration) *outlet {
	if c, ok := conn.(*tls.Conn); ok {
		conn = tlsConn{c}
	}
	o := &outlet{conn: conn, limit: limit}
	if c, ok := conn.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			o.raw, o.once = raw, o.writeOnce
		}
	}
	return o
}

// offer writes as much of b as the system takes without waiting.
func (o *outlet) offer(b []byte) (n int, err error) {
	if o.raw == nil || len(b) == 0 {
		return 0, nil
	}
	o.b, o.n, o.err = b, 0, nil
	if err := o.raw.Write(o.once); err != nil {
		return 0, err
	}
	o.b = nil
	return o.n, o.err
}

// write writes b, and waits for the client to make room for it, within the limit.
func (o *outlet) write(b []byte) error {
	if err := o.conn.SetWriteDeadline(time.Now().Add(o.limit)); err != nil {
		return err
	}
	if _, err := o.conn.Write(b); err != nil {
		return err
	}
	return o.conn.SetWriteDeadline(time.Time{}) // offer heeds it too
}

// awaitRead returns when there may be something to read, which may be the end. It
// holds less memory meanwhile than a read that waits. Where the system can't be asked
// it returns at once.
func (o *outlet) awaitRead() {
	if o.raw != nil {
		_ = o.raw.Read(readable) // an error is for whoever reads then
	}
}
