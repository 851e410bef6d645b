package ws

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/gorilla/websocket"
)

// clientFrame returns a masked frame.
func clientFrame(final bool, opcode int, size int) []byte {
	b := []byte{byte(opcode)}
	if final {
		b[0] |= 0x80
	}
	switch {
	case size < 126:
		b = append(b, 0x80|byte(size))
	case size < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(size))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(size))
	}
	return append(append(b, 0, 0, 0, 0), make([]byte, size)...)
}

// scanned returns the frames that a scanner finds in b, which arrives in pieces of size.
func scanned(b []byte, size int) (heads []frameHead) {
	var s frameScanner
	for piece := range slices.Chunk(b, size) {
		_ = s.scan(piece, func(h frameHead) error {
			heads = append(heads, h)
			return nil
		})
	}
	return heads
}

// The scanner finds each frame, however the bytes arrive.
func TestFrameScanner(t *testing.T) {
	want := []frameHead{
		{false, websocket.TextMessage, 0}, {false, 0, 0}, {false, 0, 125}, {true, websocket.PingMessage, 5},
		{false, 0, 126}, {true, 0, 70000}, {true, websocket.TextMessage, 300},
	}
	var b []byte
	for _, h := range want {
		b = append(b, clientFrame(h.final, h.opcode, int(h.size))...)
	}
	small := 0
	for _, h := range want {
		if h.smallPart() {
			small++
		}
	}
	if small != 2 {
		t.Errorf("%d frames are small parts, want 2", small)
	}
	for _, size := range []int{1, 2, 3, 7, 100, len(b)} {
		if got := scanned(b, size); !slices.Equal(got, want) {
			t.Errorf("in pieces of %d: %v, want %v", size, got, want)
		}
	}
}

// A fakeConn is a connection on which a client has sent bytes and then ended.
type fakeConn struct {
	net.Conn
	sent io.Reader
}

func (c fakeConn) Read(b []byte) (int, error) { return c.sent.Read(b) }

// libraryMessages returns what the library reads from b: "type:size" of each message, ping
// and pong.
func libraryMessages(t *testing.T, b []byte) (seen []string) {
	server, client := net.Pipe()
	defer server.Close()
	go io.Copy(io.Discard, client) // the handshake's answer and control frames, until server is closed
	w := hijackedWriter{httptest.NewRecorder(), fakeConn{server, bytes.NewReader(b)}}
	r := httptest.NewRequest("GET", "/", nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-Websocket-Version": "13", "Sec-Websocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		r.Header.Set(name, value)
	}
	c, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
	if err != nil {
		t.Fatal(err)
	}
	note := func(kind, size int) { seen = append(seen, fmt.Sprint(kind, ":", size)) }
	c.SetPingHandler(func(text string) error { note(websocket.PingMessage, len(text)); return nil })
	c.SetPongHandler(func(text string) error { note(websocket.PongMessage, len(text)); return nil })
	for {
		kind, text, err := c.ReadMessage()
		if err != nil {
			return seen
		}
		note(kind, len(text))
	}
}

type hijackedWriter struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (w hijackedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// The scanner and the library agree on the frames of every input that the library accepts.
func FuzzFrameScanner(f *testing.F) {
	f.Add(slices.Concat(clientFrame(true, 1, 3), clientFrame(false, 1, 200), clientFrame(true, 9, 4), clientFrame(true, 0, 0)), 3)
	f.Add(slices.Concat(clientFrame(false, 2, 0), clientFrame(false, 0, 0), clientFrame(true, 0, 1), clientFrame(true, 10, 0)), 1)
	f.Add(clientFrame(true, 1, 70000), 512)
	f.Fuzz(func(t *testing.T, b []byte, size int) {
		if size < 1 {
			return
		}
		want := libraryMessages(t, b)
		var got []string
		kind, total := 0, 0
		for _, h := range scanned(b, size) {
			if h.opcode == websocket.PingMessage || h.opcode == websocket.PongMessage {
				got = append(got, fmt.Sprint(h.opcode, ":", h.size))
				continue
			}
			if h.opcode != 0 {
				kind, total = h.opcode, 0
			}
			if total += int(h.size); h.final {
				got = append(got, fmt.Sprint(kind, ":", total))
			}
		}
		if len(got) < len(want) || !slices.Equal(got[:len(want)], want) { // the library stops at the first error
			t.Errorf("the scanner finds %v, the library %v", got, want)
		}
	})
}

var _ http.Hijacker = hijackedWriter{}
