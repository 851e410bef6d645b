package follow

import (
	"errors"
	"maps"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Options tune a Client.
type Options struct {
	Transport Transport
	Rooms     []string
	Cursor    string // where to start in every room; "" means from now

	// Dial connects to a node. Only Start uses it.
	Dial func() (net.Conn, error)

	// Retry is the delay after which a started client connects again; 0 means that it
	// connects once.
	Retry time.Duration

	// OnMessage is called with each message after it is recorded, by the goroutine that
	// reads. While it blocks, the client reads nothing. An error ends the connection.
	OnMessage func(Message) error
}

// A Client follows rooms over one connection at a time and records every message. It
// takes a block or frame only when it is complete; its cursor is the one in the last of
// them. Its methods may be called from any goroutine.
type Client struct {
	Options
	t    testing.TB
	quit chan struct{} // closed by Leave
	done chan struct{} // closed when run returns; nil unless started

	mu      sync.Mutex // guards the fields below
	state   State
	cursor  string            // over SSE
	cursors map[string]string // over WebSocket, by room
	changed chan struct{}     // closed and replaced at each change
	conn    net.Conn          // nil between two connections
	reading chan struct{}     // closed when the reader of the latest connection returns
	left    bool
}

// New returns a client that is not connected. Its connection ends with the test.
func New(t testing.TB, o Options) *Client {
	c := &Client{Options: o, t: t, quit: make(chan struct{}), changed: make(chan struct{}), cursors: make(map[string]string)}
	c.SetCursor(o.Cursor)
	t.Cleanup(c.Leave)
	return c
}

// Start returns a client that connects by itself, and again whenever its connection
// ends, if Options.Retry is set. It leaves with the test.
func Start(t testing.TB, o Options) *Client {
	c := New(t, o)
	c.done = make(chan struct{})
	go c.run()
	return c
}

func (c *Client) run() {
	defer close(c.done)
	for {
		if err := c.once(); err != nil {
			c.noteEnd(err)
		}
		if c.Retry == 0 {
			return
		}
		select {
		case <-c.quit:
			return
		case <-time.After(c.Retry):
		}
	}
}

// once connects and returns when the connection has ended. The error is one of
// connecting.
func (c *Client) once() error {
	conn, err := c.Dial()
	if err != nil {
		return err
	}
	if err := c.Connect(conn); err != nil {
		return err
	}
	<-c.Reading()
	return nil
}

// Leave ends the client and its connection, and waits for its goroutines. Leaving again
// does nothing.
func (c *Client) Leave() {
	c.mu.Lock()
	if !c.left {
		c.left = true
		close(c.quit)
	}
	c.mu.Unlock()
	c.Cut()
	if c.done != nil {
		<-c.done
	}
}

// Quit is closed when the client leaves.
func (c *Client) Quit() <-chan struct{} { return c.quit }

// errLeft is the result of connecting after Leave.
var errLeft = errors.New("the client has left")

// Connect asks for the client's rooms on conn, which it closes in the end. A goroutine
// records the messages until the connection ends. The previous connection must have
// ended.
func (c *Client) Connect(conn net.Conn) error {
	reading := make(chan struct{})
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		_ = conn.Close()
		return errLeft
	}
	c.conn, c.reading, c.state.Err = conn, reading, nil
	r := Request{Rooms: c.Rooms, Cursor: c.cursor, Cursors: maps.Clone(c.cursors)}
	c.mu.Unlock()
	stream, err := Open(c.Transport, conn, r)
	if err != nil {
		Reset(conn)
		c.mu.Lock()
		c.conn = nil
		c.mu.Unlock()
		close(reading)
		return err
	}
	go func() {
		defer close(reading)
		defer Reset(conn)
		c.noteEnd(c.read(stream))
	}()
	return nil
}

// read records messages until the connection ends, and returns why it ended.
func (c *Client) read(stream Stream) error {
	for {
		m, err := stream.Next()
		if closing, ok := errors.AsType[*websocket.CloseError](err); ok && closing.Code != websocket.CloseAbnormalClosure {
			m = Message{Kind: Closed, At: time.Now(), Code: strconv.Itoa(closing.Code)}
		} else if err != nil {
			return err
		}
		c.note(m)
		if c.OnMessage != nil {
			if refused := c.OnMessage(m); refused != nil {
				return refused
			}
		}
		if err != nil {
			return err
		}
	}
}

// Cut resets the connection, if one stands, and waits until every message that came
// before is recorded.
func (c *Client) Cut() {
	c.mu.Lock()
	conn, reading := c.conn, c.reading
	c.conn = nil
	c.mu.Unlock()
	if conn != nil {
		Reset(conn)
		<-reading
	}
}

// Reset closes a connection with RST, as a killed process does.
func Reset(conn net.Conn) {
	if c, ok := conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = c.SetLinger(0)
	}
	_ = conn.Close()
}

// Conn returns the connection; nil between two connections.
func (c *Client) Conn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// Reading is closed when the latest connection has ended.
func (c *Client) Reading() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reading
}

// Connected reports whether the connection stands.
func (c *Client) Connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn != nil && c.state.Err == nil
}

// SetCursor sets the cursor of every room, as if the server had sent it.
func (c *Client) SetCursor(cursor string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cursor = cursor
	for _, r := range c.Rooms {
		c.cursors[r] = cursor
	}
}

// CursorOf returns the cursor for the client's first room.
func (c *Client) CursorOf() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.Transport.Streams() {
		return c.cursor
	}
	return c.cursors[c.Rooms[0]]
}
