package peers

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// maxStrangerStreams bounds the open HTTP/2 requests of a connection that has shown no valid
// credential. A browser sends a handful before the first one is answered.
const maxStrangerStreams = 16

// A Conn is a TCP connection that a Guard has accepted.
type Conn struct {
	*net.TCPConn
	guard   *Guard
	address *address

	requests atomic.Int32 // open HTTP/2 requests
	streams  atomic.Int32 // open streams and WebSockets
	known    atomic.Bool  // a request had a valid credential

	// Guarded by guard.mu.
	resets   *rate.Limiter // nil before the first reset
	released bool
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.guard.release(c)
	return c.TCPConn.Close()
}

// Abort closes the connection without waiting for the client, and thereby ends all its
// requests.
func (c *Conn) Abort() {
	if c != nil {
		_ = c.Close()
	}
}

type contextKey struct{}

// WithConn returns the context for the requests on c. It is for http.Server.ConnContext.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	if guarded, ok := c.(*Conn); ok {
		return context.WithValue(ctx, contextKey{}, guarded)
	}
	return ctx
}

// ConnOf returns the connection of a request, or nil for a connection without limits. All
// methods of a nil Conn that concern requests do nothing.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}

// Begin notes that a request begins. End must follow.
func (c *Conn) Begin() {
	if c != nil {
		c.requests.Add(1)
	}
}

// Crowded reports whether the connection has more open requests than one may have that has
// shown no credential.
func (c *Conn) Crowded() bool { return c.Stranger() && c.requests.Load() > maxStrangerStreams }

// Stranger reports whether the connection has shown no credential.
func (c *Conn) Stranger() bool { return c != nil && !c.known.Load() }

// End notes that a request has ended.
func (c *Conn) End() {
	if c != nil {
		c.requests.Add(-1)
	}
}

// Identified notes that a request had a valid credential.
func (c *Conn) Identified() {
	if c != nil && !c.known.Load() { // all requests of a connection share the flag
		c.known.Store(true)
	}
}

// BeginStream notes that a request has become a stream or WebSocket.
func (c *Conn) BeginStream() {
	if c != nil {
		c.streams.Add(1)
	}
}

// EndStream notes that a stream has ended whose connection remains.
func (c *Conn) EndStream() {
	if c != nil {
		c.streams.Add(-1)
	}
}

// Reset counts a request that the client has reset before its answer. It closes the
// connection beyond the rate of a connection. Beyond the rate of its address it closes a
// connection that has shown no credential and has no open stream.
func (c *Conn) Reset() {
	if c != nil && c.guard.reset(c) {
		_ = c.Close()
	}
}
