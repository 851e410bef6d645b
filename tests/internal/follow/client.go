package follow

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/tests/internal/wait"
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

	// OnMessage is called with each message before it is recorded, by the goroutine that
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

// A State is the record of a client.
type State struct {
	Messages []Message // of all connections
	IDs      []string  // of the events among them
	Opens    int       // messages of kind Opened
	Err      error     // why the latest connection ended; nil while it stands
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
		if c.OnMessage != nil {
			if refused := c.OnMessage(m); refused != nil {
				c.note(m)
				return refused
			}
		}
		c.note(m)
		if err != nil {
			return err
		}
	}
}

// note records a message.
func (c *Client) note(m Message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Messages = append(c.state.Messages, m)
	switch m.Kind {
	case Event:
		c.state.IDs = append(c.state.IDs, m.ID)
	case Opened:
		c.state.Opens++
	}
	c.moveLocked(m)
	c.changedLocked()
}

// moveLocked takes over the cursor of a message. The caller holds c.mu.
func (c *Client) moveLocked(m Message) {
	switch {
	case m.Cursor == "":
	case c.Transport.Streams():
		c.cursor = m.Cursor
	case m.Kind == Position:
		// A position holds for all rooms of the connection, so some rooms may be further.
		// The client keeps one cursor per room: it cannot use one over several partitions.
		for _, r := range c.Rooms {
			if len(m.Cursor) == len(c.cursors[r]) && m.Cursor > c.cursors[r] {
				c.cursors[r] = m.Cursor
			}
		}
	default:
		c.cursors[m.Room] = m.Cursor
	}
}

func (c *Client) noteEnd(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Err = err
	c.changedLocked()
}

// changedLocked wakes the goroutines in Wait. The caller holds c.mu.
func (c *Client) changedLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
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

// Record returns a copy of the record so far.
func (c *Client) Record() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state
	s.Messages, s.IDs = slices.Clone(s.Messages), slices.Clone(s.IDs)
	return s
}

// Counts returns the number of messages and of events so far.
func (c *Client) Counts() (messages, events int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.state.Messages), len(c.state.IDs)
}

// Continue makes the record of an earlier client the beginning of this one's.
func (c *Client) Continue(s State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = s
}

// Wait waits until ok returns true and reports whether it did. It gives up after
// wait.Limit, and when the connection ends and the client does not connect again by
// itself. ok must not call methods of c.
func (c *Client) Wait(ok func(s *State) bool) bool {
	deadline := time.NewTimer(wait.Limit)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		held, changed, ended := ok(&c.state), c.changed, c.state.Err != nil && c.Retry == 0
		c.mu.Unlock()
		if held || ended {
			return held
		}
		select {
		case <-changed:
		case <-deadline.C:
			return false
		}
	}
}

// Await is Wait for conditions without which the test cannot go on.
func (c *Client) Await(what string, ok func(s *State) bool) {
	c.t.Helper()
	if c.Wait(ok) {
		return
	}
	s := c.Record()
	last := s.Messages[max(0, len(s.Messages)-3):]
	for i := range last {
		last[i].Data, last[i].Text = shortened(last[i].Data), shortened(last[i].Text)
	}
	c.t.Fatalf("%v: not received: %s; %d messages with %d events, %d opens, the connection: %v, last %+v",
		c.Transport, what, len(s.Messages), len(s.IDs), s.Opens, s.Err, last)
}

// AwaitEvents waits until the client has n events and returns their ids.
func (c *Client) AwaitEvents(n int) []string {
	c.t.Helper()
	c.Await(fmt.Sprintf("%d events", n), func(s *State) bool { return len(s.IDs) >= n })
	return c.Record().IDs
}

// shortened returns the beginning of a text, for failures.
func shortened(text string) string { return text[:min(len(text), 64)] }
