package scenarios_test

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// A client is a follower of rooms that a test connects and cuts, with the comparisons of
// these tests.
type client struct {
	*follow.Client
	t     *testing.T
	over  follow.Transport
	rooms []string
	wide  bool // the rooms are in several partitions: over SSE, an event comes without its own id

	receiveBuffer int // of each connection, in bytes; 0: the system's default
	budget        int // bytes after which the next connection is cut; 0: no limit
}

// otherTransport returns another transport that understands the same cursors.
func otherTransport(over follow.Transport) follow.Transport {
	if over == follow.WebSocket {
		return follow.SSE
	}
	return follow.WebSocket
}

// newClient returns a client that has not connected yet. It leaves with the test.
func newClient(t *testing.T, over follow.Transport, rooms ...string) *client {
	c := follow.New(t, follow.Options{Transport: over, Rooms: rooms})
	return &client{Client: c, t: t, over: over, rooms: rooms}
}

// followOn returns a client that is connected to n and follows from now.
func followOn(t *testing.T, n *node, over follow.Transport, rooms ...string) *client {
	t.Helper()
	c := newClient(t, over, rooms...)
	c.connect(n.at)
	return c
}

// from sets the cursor, as if the server had sent it.
func (c *client) from(cursor string) *client {
	c.SetCursor(cursor)
	return c
}

// at returns the client's cursor for its first room.
func (c *client) at() string { return c.CursorOf() }

// connect connects to a node and waits until the server has named the position of each
// room.
func (c *client) connect(to address) {
	c.t.Helper()
	c.cut()
	before := c.Record().Opens
	if err := c.tryConnect(to); err != nil {
		c.t.Fatalf("%v: connect: %v", c.over, err)
	}
	c.Await("the connection opens", func(s *follow.State) bool { return s.Opens == before+c.opens() })
}

// opens is how many messages of kind Opened one connection brings.
func (c *client) opens() int {
	if c.over.Streams() {
		return 1
	}
	return len(c.rooms)
}

// tryConnect connects to a node, after it has cut the previous connection.
func (c *client) tryConnect(to address) error {
	c.cut()
	conn, err := net.DialTimeout("tcp", to.of(c.over), wait.Limit)
	if err != nil {
		return err
	}
	if c.receiveBuffer > 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(c.receiveBuffer)
	}
	budget := c.budget
	c.budget = 0
	return c.Connect(newPausedConn(conn.(*net.TCPConn), budget))
}

// cut resets the connection, if one stands.
func (c *client) cut() { c.Cut() }

// pause stops reading from the connection, and resume goes on.
func (c *client) pause()  { c.Conn().(*pausedConn).pause(true) }
func (c *client) resume() { c.Conn().(*pausedConn).pause(false) }

// awaitEnd waits until the server, or the budget, has ended the connection.
func (c *client) awaitEnd() {
	c.t.Helper()
	select {
	case <-c.Reading():
	case <-time.After(wait.Limit):
		c.t.Fatalf("%v: the connection does not end", c.over)
	}
}

// connected reports whether the connection stands.
func (c *client) connected() bool { return c.Connected() }

func (c *client) len() int {
	n, _ := c.Counts()
	return n
}

func (c *client) eventCount() int {
	_, n := c.Counts()
	return n
}

// all returns the messages of all connections so far.
func (c *client) all() []follow.Message { return c.Record().Messages }

// await waits until ok holds of all messages, or the connection ends.
func (c *client) await(what string, ok func(all []follow.Message) bool) {
	c.t.Helper()
	c.Await(what, func(s *follow.State) bool { return ok(s.Messages) })
}

// wait is await for any goroutine: it reports whether ok held in time.
func (c *client) wait(ok func(all []follow.Message) bool) bool {
	return c.Wait(func(s *follow.State) bool { return ok(s.Messages) })
}

// awaitEvents waits until the client has n events, over all connections.
func (c *client) awaitEvents(n int) {
	c.t.Helper()
	c.Await(fmt.Sprintf("%d events", n), func(s *follow.State) bool { return len(s.IDs) >= n })
}

// awaitEvent waits for an event.
func (c *client) awaitEvent(s sent) {
	c.t.Helper()
	from := 0
	c.await(fmt.Sprintf("the event %q", s.data), func(all []follow.Message) bool {
		for ; from < len(all); from++ {
			if all[from].Kind == follow.Event && all[from].Text == s.data {
				return true
			}
		}
		return false
	})
}

// awaitLive waits until the replay of each room is complete, on the present connection.
func (c *client) awaitLive() {
	c.t.Helper()
	c.await("the end of the replay", func(all []follow.Message) bool { return c.liveIn(all) })
}

func (c *client) liveIn(all []follow.Message) bool {
	opens, lives := 0, 0
	for i := len(all) - 1; i >= 0 && opens < c.opens(); i-- {
		switch all[i].Kind {
		case follow.Opened:
			opens++
		case follow.Live:
			lives++
		}
	}
	return lives == c.opens()
}

// compared counts the deliveries that were compared with the published events.
var compared atomic.Int64

// difference compares the events in got with want.
func (c *client) difference(want []sent, got []follow.Message) logtest.Difference {
	var wanted, gotten []sent
	for _, s := range want {
		wanted = append(wanted, c.comparable(s))
	}
	for _, h := range got {
		if h.Kind == follow.Event {
			gotten = append(gotten, c.comparable(sent{h.Room, h.ID, h.Text}))
		}
	}
	compared.Add(int64(len(gotten)))
	return logtest.Compare(wanted, gotten)
}

// comparable removes padding, and ids that the transport does not send.
func (c *client) comparable(s sent) sent {
	if c.wide && c.over.Streams() {
		s.id = ""
	}
	s.data = strings.TrimRight(s.data, ".")
	return s
}

// exactly fails the test unless the client received exactly want, in order, without a gap
// notice.
func (c *client) exactly(want []sent) {
	c.t.Helper()
	c.exactlyIn(want, c.all())
}

func (c *client) exactlyIn(want []sent, got []follow.Message) {
	c.t.Helper()
	if d := c.difference(want, got); !d.OK() {
		c.t.Errorf("%v: %v", c.over, d)
	}
	for _, g := range gaps(got) {
		c.t.Errorf("%v: a gap notice where nothing is missing: %+v", c.over, g)
	}
}

// exactlyEach is exactly for rooms without a common order.
func (c *client) exactlyEach(w *system) {
	c.t.Helper()
	for _, room := range c.rooms {
		c.exactlyIn(w.truth.of(room), only(c.all(), room))
	}
}

// exactlyAll is exactly for all events of the client's rooms: in one order over SSE, in the
// order of each room over WebSocket.
func (c *client) exactlyAll(w *system) {
	c.t.Helper()
	if c.over.Streams() && !c.wide {
		c.exactly(w.truth.of(c.rooms...))
		return
	}
	c.exactlyEach(w)
}

// span fails the test unless a connection received exactly the events of the log between its
// first and its last cursor.
func (c *client) span(all []sent) {
	c.t.Helper()
	got := c.all()
	if len(got) == 0 || got[0].Kind != follow.Opened {
		return // cut before the first message
	}
	want := after(all, got[0].Cursor)
	want = want[:len(want)-len(after(want, c.at()))]
	c.exactlyIn(want, got)
}

// only returns the messages about a room.
func only(all []follow.Message, room string) []follow.Message {
	return slices.DeleteFunc(slices.Clone(all), func(h follow.Message) bool { return h.Room != room })
}

// gaps returns the gap notices.
func gaps(all []follow.Message) []follow.Message {
	return slices.DeleteFunc(slices.Clone(all), func(h follow.Message) bool { return h.Kind != follow.Gap })
}

// unexcused returns want without the events that a notice in got excuses. A notice excuses
// the events within its bounds that come after all events of the room before it.
func unexcused(want []sent, got []follow.Message) []sent {
	last := make(map[string]string) // newest received id of each room
	excused := make(map[sent]bool)
	for _, h := range got {
		switch h.Kind {
		case follow.Event:
			last[h.Room] = max(last[h.Room], h.ID)
		case follow.Gap:
			for _, s := range want {
				if s.room == h.Room && h.After < s.id && s.id < h.Before && last[s.room] < s.id {
					excused[s] = true
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(want), func(s sent) bool { return excused[s] })
}

// toldAll fails the test unless each event of want was either received once and in order, or
// excused by a notice in its place.
func (c *client) toldAll(want []sent) {
	c.t.Helper()
	got := c.all()
	if d := c.difference(unexcused(want, got), got); !d.OK() {
		c.t.Errorf("%v: not excused by a notice: %v", c.over, d)
	}
}
