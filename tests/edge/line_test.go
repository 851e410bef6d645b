//go:build linux

package edge

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A caller opens connections to one address, from many: an address of loopback has
// 28,000 ports, and each that was closed in order is kept for a minute.
type caller struct {
	to    string // host:port
	calls atomic.Uint32
}

// callerAddrs is how many addresses a caller calls from.
const callerAddrs = 32

// A line is one connection. Everything on it fails after patience.
type line struct {
	*net.TCPConn
	in *bufio.Reader
}

func (c *caller) dial() (*line, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+c.calls.Add(1)%callerAddrs))}
	dialer := net.Dialer{LocalAddr: from, Timeout: patience, KeepAlive: -1}
	conn, err := dialer.Dial("tcp", c.to)
	if err != nil {
		return nil, err
	}
	l := newLine(conn.(*net.TCPConn))
	return l, l.SetDeadline(time.Now().Add(patience))
}

// newLine returns a line on conn.
func newLine(conn *net.TCPConn) *line {
	return &line{TCPConn: conn, in: bufio.NewReaderSize(conn, 512)}
}

// reset ends the line at once, as a process that is killed does.
func (l *line) reset() {
	_ = l.SetLinger(0)
	_ = l.Close()
}

// send writes text.
func (l *line) send(text string) error {
	_, err := io.WriteString(l, text)
	return err
}

// request returns the text of a request without a body. fields are lines of its header.
func request(method, path string, fields ...string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: tidemark\r\n", method, path)
	for _, field := range fields {
		text.WriteString(field + "\r\n")
	}
	return text.String() + "\r\n"
}

// post returns the text of a publish.
func post(path, body string, fields ...string) string {
	return request("POST", path, append(fields, fmt.Sprint("Content-Length: ", len(body)))...) + body
}

// stream returns the text of a request for an event stream.
func stream(path string, fields ...string) string {
	return request("GET", path, append(fields, "Accept: text/event-stream")...)
}

// upgrade returns the text of a request for a WebSocket.
func upgrade(fields ...string) string {
	return request("GET", "/v1/ws", append(fields, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")...)
}

// answer reads a response's header.
func (l *line) answer() (*http.Response, error) { return http.ReadResponse(l.in, nil) }

// openStream asks for an event stream and returns its first block.
func (l *line) openStream(path string, fields ...string) (blocks *bufio.Reader, first string, err error) {
	if err := l.send(stream(path, fields...)); err != nil {
		return nil, "", err
	}
	res, err := l.answer()
	if err != nil {
		return nil, "", err
	}
	if res.StatusCode != http.StatusOK {
		return nil, "", fmt.Errorf("%s: %s", path, res.Status)
	}
	blocks = bufio.NewReaderSize(res.Body, 512)
	first, err = readBlock(blocks)
	return blocks, first, err
}

// readBlock reads a block of an event stream, which its empty line ends.
func readBlock(r *bufio.Reader) (string, error) {
	var block strings.Builder
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return block.String(), err
		}
		if text == "\n" {
			return block.String(), nil
		}
		block.WriteString(text)
	}
}

// openSocket upgrades the line. fields are lines of the request's header.
func (l *line) openSocket(fields ...string) error {
	if err := l.send(upgrade(fields...)); err != nil {
		return err
	}
	res, err := l.answer()
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("upgrade: %s", res.Status)
	}
	return nil
}

// Kinds of frames, RFC 6455.
const (
	textFrame   = 1
	binaryFrame = 2
	closeFrame  = 8
	pingFrame   = 9
	pongFrame   = 10
)

// frame returns a client's frame. Its mask is zero, so that it can be read.
func frame(kind byte, payload string) string {
	b := []byte{0x80 | kind}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(b, 0, 0, 0, 0)) + payload
}

// say sends a text frame.
func (l *line) say(text string) error { return l.send(frame(textFrame, text)) }

// readFrame reads a server's frame. Pings are answered and passed over.
func (l *line) readFrame() (kind byte, payload []byte, err error) {
	for {
		kind, payload, err = l.nextFrame()
		if err != nil || kind != pingFrame {
			return kind, payload, err
		}
		if err := l.send(frame(pongFrame, string(payload))); err != nil {
			return 0, nil, err
		}
	}
}

func (l *line) nextFrame() (kind byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(l.in, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var size [2]byte
		_, err = io.ReadFull(l.in, size[:])
		n = uint64(binary.BigEndian.Uint16(size[:]))
	case 127:
		var size [8]byte
		_, err = io.ReadFull(l.in, size[:])
		n = binary.BigEndian.Uint64(size[:])
	}
	if err != nil {
		return 0, nil, err
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(l.in, payload)
	return head[0] &^ 0x80, payload, err
}

// hear reads text frames until one contains what is wanted.
func (l *line) hear(want string) error {
	for {
		kind, payload, err := l.readFrame()
		switch {
		case err != nil:
			return fmt.Errorf("before %s: %w", want, err)
		case kind == closeFrame:
			return fmt.Errorf("before %s: closed with %q", want, payload)
		case bytes.Contains(payload, []byte(want)):
			return nil
		}
	}
}

// hearClose reads until a close frame, and returns its code.
func (l *line) hearClose() (code int, err error) {
	for {
		kind, payload, err := l.readFrame()
		if err != nil {
			return 0, err
		}
		if kind == closeFrame {
			return closeCode(payload), nil
		}
	}
}

// closeCode returns the code in a close frame; 1005 says that there is none.
func closeCode(payload []byte) int {
	if len(payload) < 2 {
		return 1005
	}
	return int(binary.BigEndian.Uint16(payload))
}
