// Package ws speaks WebSocket to Tidemark for all tests, in two ways.
//
// Dial returns a connection of gorilla/websocket. Most tests use it: an independent
// implementation checks the server's handshake, frames and answers.
//
// Frame, ReadFrame and CutFrame encode and decode single frames, for tests that send
// malformed frames, answer no pings, or hold thousands of connections.
package ws

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

// Options tune Dial. The zero value is a plain connection without a token.
type Options struct {
	Token string // offered as a subprotocol, as browsers do; "" for none
	TLS   *tls.Config

	// Dial connects to host:port. nil uses net.Dialer.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	Timeout time.Duration // of the handshake; 0 means one minute
}

// A Conn is a client's WebSocket.
type Conn struct{ *websocket.Conn }

// Dial connects to the server at url, an http or https address without a path.
func Dial(url string, o Options) (*Conn, error) {
	protocols := []string{"tidemark.v1"}
	if o.Token != "" {
		protocols = append(protocols, "tidemark.bearer."+o.Token)
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	dialer := websocket.Dialer{
		Subprotocols: protocols, HandshakeTimeout: o.Timeout, TLSClientConfig: o.TLS, NetDialContext: o.Dial,
	}
	conn, res, err := dialer.Dial("ws"+strings.TrimPrefix(url, "http")+"/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		_ = res.Body.Close()
	}
	return &Conn{conn}, nil
}

// Upgrade makes a WebSocket of an established connection to a node.
func Upgrade(conn net.Conn, o Options) (*Conn, error) {
	o.Dial = func(context.Context, string, string) (net.Conn, error) { return conn, nil }
	return Dial("http://tidemark", o)
}

// Subscribe asks for a room's events after the cursor since; "" means from now.
func (c *Conn) Subscribe(room, since string) error {
	ask := map[string]string{"op": "subscribe", "room": room}
	if since != "" {
		ask["since"] = since
	}
	return c.WriteJSON(ask)
}
