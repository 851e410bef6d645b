//go:build linux

package edge

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/tests/internal/sse"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// A caller opens connections to one address, from many: an address of loopback has
// 28,000 ports, and the kernel keeps each for a minute after an orderly close.
type caller struct {
	to    string // host:port
	calls atomic.Uint32
}

// callerAddrs is the number of addresses a caller connects from.
const callerAddrs = 32

// A conn is one raw connection. Unlike the clients of tests/internal/follow it can send
// half a request and malformed frames, and ten thousand of them fit into one process: each
// has a small buffer and no goroutine. Every read and write fails after wait.Limit.
type conn struct {
	*net.TCPConn
	in *bufio.Reader
}

func (c *caller) dial() (*conn, error) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+c.calls.Add(1)%callerAddrs))}
	dialer := net.Dialer{LocalAddr: from, Timeout: wait.Limit, KeepAlive: -1}
	tcp, err := dialer.Dial("tcp", c.to)
	if err != nil {
		return nil, err
	}
	l := newConn(tcp.(*net.TCPConn))
	return l, l.SetDeadline(time.Now().Add(wait.Limit))
}

// newConn returns a conn on an established connection.
func newConn(tcp *net.TCPConn) *conn {
	return &conn{TCPConn: tcp, in: bufio.NewReaderSize(tcp, 512)}
}

// reset closes the connection with RST, as a killed process does.
func (l *conn) reset() {
	_ = l.SetLinger(0)
	_ = l.Close()
}

// send writes text.
func (l *conn) send(text string) error {
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

// answer reads the header of a response.
func (l *conn) answer() (*http.Response, error) { return http.ReadResponse(l.in, nil) }

// openStream asks for an event stream and returns its first block.
func (l *conn) openStream(path string, fields ...string) (blocks *sse.Reader, first sse.Block, err error) {
	if err := l.send(stream(path, fields...)); err != nil {
		return nil, first, err
	}
	res, err := l.answer()
	if err != nil {
		return nil, first, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, first, fmt.Errorf("%s: %s", path, res.Status)
	}
	blocks = sse.NewReader(res.Body)
	first, err = blocks.Next()
	return blocks, first, err
}

// openSocket upgrades the connection. fields are lines of the request's header.
func (l *conn) openSocket(fields ...string) error {
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

// sendText sends a text frame.
func (l *conn) sendText(text string) error { return l.send(ws.Frame(ws.Text, text)) }

// readFrame reads a server's frame. It answers pings and skips them.
func (l *conn) readFrame() (kind byte, payload []byte, err error) {
	for {
		kind, payload, err = ws.ReadFrame(l.in)
		if err != nil || kind != ws.Ping {
			return kind, payload, err
		}
		if err := l.send(ws.Frame(ws.Pong, payload)); err != nil {
			return 0, nil, err
		}
	}
}

// awaitText reads text frames until one contains want.
func (l *conn) awaitText(want string) error {
	for {
		kind, payload, err := l.readFrame()
		switch {
		case err != nil:
			return fmt.Errorf("before %s: %w", want, err)
		case kind == ws.Close:
			return fmt.Errorf("before %s: closed with %q", want, payload)
		case bytes.Contains(payload, []byte(want)):
			return nil
		}
	}
}

// awaitClose reads until a close frame, and returns its code.
func (l *conn) awaitClose() (code int, err error) {
	for {
		kind, payload, err := l.readFrame()
		if err != nil {
			return 0, err
		}
		if kind == ws.Close {
			return ws.CloseCode(payload), nil
		}
	}
}
