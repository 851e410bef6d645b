package peers

import (
	"container/list"
	"context"
	"crypto/tls"
	"net"
	"net/http"
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

	requests atomic.Int32 // open requests; over HTTP/1 until the connection waits for the next
	streams  atomic.Int32 // open streams and WebSockets
	known    atomic.Bool  // a request had a valid credential
	http2    atomic.Bool

	waiting   atomic.Bool  // for a complete request header, as guard.waiting counts it
	deadlines atomic.Int32 // set since the connection became idle
	buffered  atomic.Bool  // net/http may have read a part of the next HTTP/1 request
	last      int64        // bytes of the last read; the reader's
	// sent is how many bytes were read since the last HTTP/2 request began or ended, or
	// since net/http had no more of an HTTP/1 request.
	sent atomic.Int64

	// Guarded by guard.mu.
	resets   *rate.Limiter // nil before the first reset
	released bool
	in       *list.List // of guard.waiting
	place    *list.Element
	cost     int64
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

type crowdedKey struct{}

// WithCrowded returns the context for a request whose Begin has reported crowded. The others
// of a burst may begin before a handler looks, so it must not count again.
func WithCrowded(ctx context.Context) context.Context {
	return context.WithValue(ctx, crowdedKey{}, true)
}

// IsCrowded reports whether ctx is from WithCrowded.
func IsCrowded(ctx context.Context) bool { return ctx.Value(crowdedKey{}) != nil }

// WithConn returns the context for the requests on c. It is for http.Server.ConnContext.
func WithConn(ctx context.Context, c net.Conn) context.Context {
	if guarded := unwrap(c); guarded != nil {
		return context.WithValue(ctx, contextKey{}, guarded)
	}
	return ctx
}

// Follow notes that c is in a new state. It is for http.Server.ConnState.
func Follow(c net.Conn, state http.ConnState) {
	if state == http.StateIdle {
		unwrap(c).Idle()
	}
}

// unwrap returns the connection below c, or nil for one without limits.
func unwrap(c net.Conn) *Conn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	guarded, _ := c.(*Conn)
	return guarded
}

// ConnOf returns the connection of a request, or nil for a connection without limits. All
// methods of a nil Conn that concern requests do nothing.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(contextKey{}).(*Conn)
	return c
}

// Begin notes that a request begins. Over HTTP/2, End must follow. crowded reports whether
// the connection has more open HTTP/2 requests, with this one, than one may have that has
// shown no credential.
func (c *Conn) Begin(http2 bool) (crowded bool) {
	if c == nil {
		return false
	}
	if http2 {
		c.sent.Store(0)
		if !c.http2.Load() { // all requests of a connection share the flag
			c.http2.Store(true)
		}
	}
	open := c.requests.Add(1)
	if c.waiting.Load() {
		c.guard.arrived(c)
	}
	return http2 && open > maxStrangerStreams && c.Stranger()
}

// Idle notes that an HTTP/1 connection waits for its next request.
func (c *Conn) Idle() {
	if c == nil || c.http2.Load() {
		return
	}
	c.deadlines.Store(0)
	c.buffered.Store(true)
	c.requests.Store(0)
}

// Stranger reports whether the connection has shown no credential.
func (c *Conn) Stranger() bool { return c != nil && !c.known.Load() }

// End notes that an HTTP/2 request has ended.
func (c *Conn) End() {
	if c != nil {
		c.sent.Store(0)
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
// connection if it exceeds the rate of a connection. If the address exceeds its rate, Reset
// closes the connection unless it has shown a credential or has an open stream.
func (c *Conn) Reset() {
	if c != nil && c.guard.reset(c) {
		_ = c.Close()
	}
}
