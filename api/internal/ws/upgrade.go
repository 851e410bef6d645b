package ws

import (
	"bufio"
	"net"
	"net/http"
	"slices"
	"time"
)

// readBuffer is the size of a session's read buffer in bytes: most messages are smaller.
const readBuffer = 512

// An upgradeWriter hands an upgradedConn to the upgrader, which takes the connection over.
type upgradeWriter struct {
	http.ResponseWriter
	conn *upgradedConn // nil until it is taken over
}

// Hijack implements http.Hijacker.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = &upgradedConn{Conn: conn}
	if rw.Reader.Buffered() == 0 { // otherwise the upgrader refuses the client
		rw.Reader = bufio.NewReaderSize(w.conn, readBuffer)
	}
	w.conn.read = rw.Reader
	return w.conn, rw, nil
}

// An upgradedConn is the connection that the WebSocket library sees. The library writes the
// handshake to it directly. Its later writes are control frames, each in one piece, and are
// queued for the session's task, which alone writes.
type upgradedConn struct {
	net.Conn
	read    *bufio.Reader      // of Conn; the library reads from it
	control func(frame []byte) // queues a control frame; nil during the handshake

	scanner *frameScanner         // of the bytes read; nil without a message limit
	found   func(frameHead) error // called for each frame; an error ends the reading
}

// Read implements net.Conn.
func (c *upgradedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.scanner == nil {
		return n, err
	}
	if flood := c.scanner.scan(b[:n], c.found); flood != nil {
		c.scanner = nil
		return 0, flood
	}
	return n, err
}

// Write implements net.Conn.
func (c *upgradedConn) Write(b []byte) (int, error) {
	if c.control == nil {
		return c.Conn.Write(b)
	}
	c.control(b)
	return len(b), nil
}

// SetWriteDeadline implements net.Conn. It ignores the deadlines that the library sets for
// control frames: the task has its own.
func (c *upgradedConn) SetWriteDeadline(t time.Time) error {
	if c.control == nil {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// A rejectingWriter hands a rejectingConn to the upgrader.
type rejectingWriter struct {
	http.ResponseWriter
	closeFrame []byte
}

// Hijack implements http.Hijacker.
func (w *rejectingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	return &rejectingConn{conn, w.closeFrame}, rw, err
}

// A rejectingConn writes the close frame in one piece with the handshake. Otherwise data
// that the client sends meanwhile would meet a closed connection. The reset that answers
// it makes some systems discard data that the client has not read yet.
type rejectingConn struct {
	net.Conn
	closeFrame []byte
}

// Write implements net.Conn. It is called once.
func (c *rejectingConn) Write(handshake []byte) (int, error) {
	n, err := c.Conn.Write(slices.Concat(handshake, c.closeFrame))
	return min(n, len(handshake)), err
}
