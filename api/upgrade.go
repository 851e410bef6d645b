package api

import (
	"bufio"
	"encoding/binary"
	"net"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// An upgradeWriter gives whoever takes its connection over an upgradedConn.
type upgradeWriter struct {
	http.ResponseWriter
	conn *upgradedConn // once it is taken over
}

// Hijack implements http.Hijacker.
func (w *upgradeWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	w.conn = &upgradedConn{Conn: conn}
	if rw.Reader.Buffered() == 0 { // else the upgrader refuses it
		rw.Reader = bufio.NewReaderSize(w.conn, readBuffer)
	}
	w.conn.read = rw.Reader
	return w.conn, rw, nil
}

// An upgradedConn is what the WebSocket library reads from, and writes its handshake
// to. What it writes afterwards (control frames, each whole) goes through the
// socket's task, which alone writes.
type upgradedConn struct {
	net.Conn
	read   *bufio.Reader // of Conn, for the library
	socket *socket       // nil for the time of the handshake
}

// Write implements net.Conn.
func (c *upgradedConn) Write(b []byte) (int, error) {
	if c.socket == nil {
		return c.Conn.Write(b)
	}
	c.socket.control(b)
	return len(b), nil
}

// SetWriteDeadline implements net.Conn. The library sets one for each control frame;
// the task has its own.
func (c *upgradedConn) SetWriteDeadline(t time.Time) error {
	if c.socket == nil {
		return c.Conn.SetWriteDeadline(t)
	}
	return nil
}

// control has the task write a control frame. Of several pongs the last is enough
// (RFC 6455, 5.5.3).
func (k *socket) control(frame []byte) {
	k.mu.Lock()
	if frame[0]&0x0f == websocket.CloseMessage {
		k.bye = append([]byte(nil), frame...)
	} else {
		k.pong = append([]byte(nil), frame...)
	}
	k.mu.Unlock()
	k.server.crew.wake(&k.task)
}

// appendFrame appends an unmasked frame that is a whole message, as a server sends it
// (RFC 6455, 5.2).
func appendFrame(b []byte, opcode int, payload []byte) []byte {
	b = append(b, 0x80|byte(opcode)) // FIN
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}
