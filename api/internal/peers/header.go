package peers

import (
	"container/list"
	"time"
)

const (
	// headerFactor is about the memory that net/http takes for a byte of a header which
	// has not arrived completely, and waitingMemory that of a connection without a
	// request. Measured: 15 to 19 KB for a connection, and 16 to 20 times the size of a
	// header of short lines, up to 38 times within its first 4 KiB.
	headerFactor  = 20
	waitingMemory = 16 << 10

	// smallHeader is a usual size, in bytes, of a request's header or a TLS handshake.
	smallHeader = 4 << 10
	// idleBytes is how much a client may send between two requests before it counts as one
	// that has begun the next, such as HTTP/2 pings and acknowledgements.
	idleBytes = 1 << 10
)

// A waitingRoom bounds the memory of the connections whose client has not sent a complete
// request header. Guard.mu guards it.
type waitingRoom struct {
	limit, used  int64
	small, large list.List // of *Conn, the one that has waited longest first
}

// headerCost returns the memory of a connection whose client has sent n bytes.
func headerCost(n int64) int64 { return waitingMemory + headerFactor*n }

// addLocked adds n bytes to what c costs, and returns the connections that must be closed
// to stay within the limit: those that have waited longest, and first those that have sent
// more than smallHeader. Otherwise few long headers could push out many usual ones.
func (w *waitingRoom) addLocked(c *Conn, n int64) (ended []*Conn) {
	w.used += n
	c.cost += n
	in := &w.small
	if c.cost > headerCost(smallHeader) {
		in = &w.large
	}
	switch {
	case c.place == nil:
		c.place = in.PushBack(c)
	case c.in != in:
		c.in.Remove(c.place)
		c.place = in.PushBack(c)
	}
	c.in = in
	for w.used > w.limit {
		oldest := w.large.Front()
		if oldest == nil {
			oldest = w.small.Front()
		}
		victim := oldest.Value.(*Conn)
		w.removeLocked(victim)
		ended = append(ended, victim)
	}
	return ended
}

func (w *waitingRoom) removeLocked(c *Conn) {
	if c.place == nil {
		return
	}
	c.in.Remove(c.place)
	w.used -= c.cost
	c.place, c.cost = nil, 0
	c.waiting.Store(false)
}

// wait counts n more bytes from the client of c, which waits for the rest of a request.
func (g *Guard) wait(c *Conn, n int64) {
	g.mu.Lock()
	var ended []*Conn
	if !c.released {
		cost := headerFactor * n
		if c.place == nil {
			cost += waitingMemory
			c.waiting.Store(true)
		}
		ended = g.waiting.addLocked(c, cost)
	}
	g.mu.Unlock()
	closeAll(ended)
}

// arrived notes that the request of c has arrived.
func (g *Guard) arrived(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting.removeLocked(c)
}

func closeAll(conns []*Conn) {
	for _, c := range conns {
		_ = c.SetLinger(0) // keeps no state for it
		_ = c.Close()
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.waiting.Load() && c.requests.Load() == 0 {
		switch sent := c.sent.Load(); {
		case c.http2.Load() && sent > idleBytes, c.deadlines.Load() > 1:
			c.guard.wait(c, sent)
		case c.buffered.Swap(false):
			c.sent.Store(c.last) // crypto/tls may hold a part of a record
		}
	}
	n, err := c.TCPConn.Read(p)
	if n > 0 {
		c.last = int64(n)
		c.sent.Add(c.last)
		if c.waiting.Load() {
			c.guard.wait(c, c.last)
		}
	}
	return n, err
}

// SetReadDeadline implements net.Conn. net/http calls it when an HTTP/1 connection becomes
// idle, and again when the next request begins.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if c.requests.Load() == 0 {
		c.deadlines.Add(1)
	}
	return c.TCPConn.SetReadDeadline(t)
}
