package scenarios_test

import (
	"errors"
	"net"
	"sync"
)

// A pausedConn is the client's side of a connection. A test can stop its reads, and cut
// it after a number of bytes: in the middle of a block or frame.
type pausedConn struct {
	*net.TCPConn
	budget int // bytes that may still be read; negative: no limit; owned by the reader

	mu     sync.Mutex    // guards the fields below
	free   chan struct{} // open while reads are paused
	paused bool
	closed bool
}

var errBudget = errors.New("cut here by the test")

// newPausedConn returns a connection that ends after budget bytes; 0 means no limit.
func newPausedConn(conn *net.TCPConn, budget int) *pausedConn {
	c := &pausedConn{TCPConn: conn, budget: budget, free: make(chan struct{})}
	if budget == 0 {
		c.budget = -1
	}
	close(c.free)
	return c
}

// Read implements net.Conn. A read that began before the pause may still return data.
func (c *pausedConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	free := c.free
	c.mu.Unlock()
	<-free
	if c.budget == 0 {
		return 0, errBudget
	}
	if c.budget > 0 {
		p = p[:min(len(p), c.budget)]
	}
	n, err := c.TCPConn.Read(p)
	if c.budget > 0 {
		c.budget -= n
	}
	return n, err
}

// pause stops or resumes reads.
func (c *pausedConn) pause(paused bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if paused == c.paused || c.closed {
		return
	}
	c.paused = paused
	if paused {
		c.free = make(chan struct{})
	} else {
		close(c.free)
	}
}

// Close implements net.Conn: it resets the connection and releases a paused reader.
// Closing again does nothing.
func (c *pausedConn) Close() error {
	c.pause(false)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	_ = c.SetLinger(0)
	return c.TCPConn.Close()
}
