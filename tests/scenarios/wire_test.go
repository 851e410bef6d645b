package scenarios_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// openStream asks for the client's rooms over SSE.
func (c *client) openStream(l *line, cursor string) (next func() (heard, error), err error) {
	request := "GET " + c.path() + " HTTP/1.1\r\nHost: tidemark\r\nAccept: text/event-stream\r\n"
	if cursor != "" {
		request += "Last-Event-ID: " + cursor + "\r\n"
	}
	if _, err := io.WriteString(l, request+"\r\n"); err != nil {
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReader(l), nil)
	if err != nil {
		return nil, err
	}
	return c.readStream(resp)
}

// openShared asks for the client's rooms on a stream of HTTP/2.
func (c *client) openShared(l *line, cursor string) (next func() (heard, error), err error) {
	transport := &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return l, nil },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // who the node is, is none of these tests' business
		Protocols:       new(http.Protocols),
	}
	scheme := "http"
	if c.over == overH2 {
		scheme = "https"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	r, err := http.NewRequest(http.MethodGet, scheme+"://tidemark"+c.path(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	if cursor != "" {
		r.Header.Set("Last-Event-ID", cursor)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	return c.readStream(resp)
}

// path is the address of the client's rooms.
func (c *client) path() string {
	if len(c.rooms) == 1 {
		return "/v1/rooms/" + c.rooms[0] + "/events"
	}
	return "/v1/events?" + url.Values{"room": c.rooms}.Encode()
}

// readStream returns what reads the blocks of a stream.
func (c *client) readStream(resp *http.Response) (next func() (heard, error), err error) {
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(resp.Body)
		return nil, errors.Join(fmt.Errorf("%d %s", resp.StatusCode, body), err)
	}
	blocks := bufio.NewReader(resp.Body)
	return func() (heard, error) { return c.readBlock(blocks) }, nil
}

// readBlock reads one block, which is complete with its empty line.
func (c *client) readBlock(r *bufio.Reader) (heard, error) {
	kind, id, data := "", "", ""
	for {
		text, err := r.ReadString('\n')
		if err != nil {
			return heard{}, err
		}
		name, value, _ := strings.Cut(strings.TrimSuffix(text, "\n"), ": ")
		switch name {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			data = value
		case "":
			return c.understandBlock(kind, id, data)
		}
	}
}

func (c *client) understandBlock(kind, id, data string) (heard, error) {
	h := heard{cursor: id}
	name, own := strings.CutPrefix(kind, "tidemark.")
	switch {
	case data == "":
		h.kind = "position"
		return h, nil
	case own:
		h.kind = name
		var said struct {
			Room, After, Before, Reason, Code string
			Replayed                          int
		}
		if err := json.Unmarshal([]byte(data), &said); err != nil {
			return h, fmt.Errorf("block %q: %w", data, err)
		}
		h.room, h.after, h.before, h.reason, h.code, h.replayed =
			said.Room, said.After, said.Before, said.Reason, said.Code, said.Replayed
		return h, nil
	}
	h.kind, h.id, h.room = "event", id, c.rooms[0]
	inner := []byte(data)
	if len(c.rooms) > 1 {
		var wrapped struct {
			Room string
			Data json.RawMessage
		}
		if err := json.Unmarshal(inner, &wrapped); err != nil {
			return h, fmt.Errorf("block %q: %w", data, err)
		}
		h.room, inner = wrapped.Room, wrapped.Data
	}
	if err := json.Unmarshal(inner, &h.data); err != nil {
		return h, fmt.Errorf("block %q: %w", data, err)
	}
	return h, nil
}

// openSocket subscribes to the client's rooms on a WebSocket.
func (c *client) openSocket(l *line, cursors map[string]string) (next func() (heard, error), err error) {
	dialer := websocket.Dialer{
		NetDialContext:   func(context.Context, string, string) (net.Conn, error) { return l, nil },
		HandshakeTimeout: patience,
		Subprotocols:     []string{"tidemark.v1"},
	}
	ws, resp, err := dialer.Dial("ws://tidemark/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	for _, room := range c.rooms {
		ask := map[string]string{"op": "subscribe", "room": room}
		if since := cursors[room]; since != "" {
			ask["since"] = since
		}
		if err := ws.WriteJSON(ask); err != nil {
			return nil, err
		}
	}
	return func() (heard, error) {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return heard{}, err
		}
		return understandFrame(text)
	}, nil
}

func understandFrame(text []byte) (heard, error) {
	var said struct {
		Op, Room, ID, Cursor, After, Before, Reason, Code string
		Replayed                                          int
		Data                                              string
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return heard{}, fmt.Errorf("frame %q: %w", text, err)
	}
	h := heard{
		kind: said.Op, room: said.Room, id: said.ID, data: said.Data, after: said.After, before: said.Before,
		reason: said.Reason, replayed: said.Replayed, code: said.Code, cursor: said.Cursor,
	}
	switch said.Op {
	case "subscribed":
		h.kind = "open"
	case "event":
		h.cursor = said.ID
	}
	return h, nil
}

// A line is a client's side of a connection, which it can stop reading and cut
// anywhere.
type line struct {
	*net.TCPConn
	budget int // bytes that may still be read; owned by the reader; less than 0: any number

	mu   sync.Mutex // guards the fields below
	free chan struct{}
	held bool
	gone bool
}

var errBudget = errors.New("cut here by the test")

// newLine returns a line that is cut behind the given number of bytes, if any.
func newLine(conn *net.TCPConn, budget int) *line {
	l := &line{TCPConn: conn, budget: budget, free: make(chan struct{})}
	if budget == 0 {
		l.budget = -1
	}
	close(l.free)
	return l
}

// Read implements net.Conn. What a paused reader had asked for before may still come.
func (l *line) Read(p []byte) (int, error) {
	l.mu.Lock()
	free := l.free
	l.mu.Unlock()
	<-free
	if l.budget == 0 {
		return 0, errBudget
	}
	if l.budget > 0 {
		p = p[:min(len(p), l.budget)]
	}
	n, err := l.TCPConn.Read(p)
	if l.budget > 0 {
		l.budget -= n
	}
	return n, err
}

func (l *line) hold(held bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if held == l.held || l.gone {
		return
	}
	l.held = held
	if held {
		l.free = make(chan struct{})
	} else {
		close(l.free)
	}
}

// cut resets the connection. Cutting again does nothing.
func (l *line) cut() {
	l.hold(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gone {
		return
	}
	l.gone = true
	_ = l.SetLinger(0)
	_ = l.TCPConn.Close()
}

// Close implements net.Conn, for gorilla.
func (l *line) Close() error { l.cut(); return nil }

// SetDeadline implements net.Conn: gorilla's handshake has one.
func (l *line) SetDeadline(at time.Time) error { return l.TCPConn.SetDeadline(at) }
