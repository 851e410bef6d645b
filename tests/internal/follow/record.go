package follow

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
)

// A State is the record of a client.
type State struct {
	Messages []Message // of all connections
	IDs      []string  // of the events among them
	Opens    int       // messages of kind Opened
	Err      error     // why the latest connection ended; nil while it stands
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
