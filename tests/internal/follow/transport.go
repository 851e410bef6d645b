package follow

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"github.com/tidemark/tidemark/tests/internal/sse"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// A Transport is a way to follow rooms.
type Transport int

const (
	SSE       Transport = iota // over HTTP/1.1
	WebSocket                  // over HTTP/1.1
	H2C                        // SSE over HTTP/2 without TLS and without an upgrade
	H2                         // SSE over HTTP/2 with TLS
)

// String returns the name that subtests have.
func (over Transport) String() string {
	return [...]string{"sse", "websocket", "sse-h2c", "sse-h2"}[over]
}

// Streams reports whether the transport is SSE: a connection has one cursor.
func (over Transport) Streams() bool { return over != WebSocket }

// A Request names the rooms of a connection and the positions to start from.
type Request struct {
	Rooms   []string
	Cursor  string            // over SSE: sent as Last-Event-ID; "" means from now
	Cursors map[string]string // over WebSocket: by room; none means from now
	Token   string            // over SSE: sent as a bearer token; "" sends none
}

// Path returns the path and query of an event stream for the rooms.
func (r Request) Path() string {
	if len(r.Rooms) == 1 {
		return "/v1/rooms/" + url.PathEscape(r.Rooms[0]) + "/events"
	}
	return "/v1/events?" + url.Values{"room": r.Rooms}.Encode()
}

// A Stream returns the messages of one connection, in order. Next blocks until a message
// is complete. Close the connection to end it.
type Stream interface {
	Next() (Message, error)
}

// Open asks for rooms on a connection to a node.
func Open(over Transport, conn net.Conn, r Request) (Stream, error) {
	switch over {
	case SSE:
		return openHTTP1(conn, r)
	case WebSocket:
		return openWebSocket(conn, r)
	}
	return openHTTP2(over, conn, r)
}

func (r Request) http(scheme string) (*http.Request, error) {
	req, err := http.NewRequest(http.MethodGet, scheme+"://tidemark"+r.Path(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if r.Cursor != "" {
		req.Header.Set("Last-Event-ID", r.Cursor)
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	return req, nil
}

func openHTTP1(conn net.Conn, r Request) (Stream, error) {
	req, err := r.http("http")
	if err != nil {
		return nil, err
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		return nil, err
	}
	return FromResponse(res, r.Rooms...)
}

func openHTTP2(over Transport, conn net.Conn, r Request) (Stream, error) {
	transport := &http.Transport{
		DialContext:     func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // other tests check the node's identity
		Protocols:       new(http.Protocols),
	}
	scheme := "http"
	if over == H2 {
		scheme = "https"
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	req, err := r.http(scheme)
	if err != nil {
		return nil, err
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	return FromResponse(res, r.Rooms...)
}

// FromResponse returns the messages of an event stream for rooms. It returns an error
// with the body if the status is not 200.
func FromResponse(res *http.Response, rooms ...string) (Stream, error) {
	if res.StatusCode != http.StatusOK {
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		return nil, errors.Join(fmt.Errorf("%d %s", res.StatusCode, text), err)
	}
	return &stream{rooms: rooms, blocks: sse.NewReader(res.Body)}, nil
}

type stream struct {
	rooms  []string
	blocks *sse.Reader
}

func (s *stream) Next() (Message, error) {
	b, err := s.blocks.Next()
	if err != nil {
		return Message{}, err
	}
	return parseBlock(b, s.rooms)
}

func openWebSocket(conn net.Conn, r Request) (Stream, error) {
	socket, err := ws.Upgrade(conn, ws.Options{Token: r.Token})
	if err != nil {
		return nil, err
	}
	for _, room := range r.Rooms {
		if err := socket.Subscribe(room, r.Cursors[room]); err != nil {
			return nil, err
		}
	}
	return FromWebSocket(socket), nil
}

// FromWebSocket returns the messages of a WebSocket.
func FromWebSocket(socket *ws.Conn) Stream { return webSocket{socket} }

type webSocket struct{ socket *ws.Conn }

func (w webSocket) Next() (Message, error) {
	_, text, err := w.socket.ReadMessage()
	if err != nil {
		return Message{}, err
	}
	return parseFrame(text)
}
