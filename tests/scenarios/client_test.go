package scenarios_test

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
)

// A heard is one block or frame, in the words of either transport.
type heard struct {
	kind     string // open, event, live, gap, position, error, closed
	room     string // for a follower of one room that room
	id       string // of an event
	data     string
	after    string // of a gap, with the two below
	before   string
	reason   string
	replayed int    // of live
	code     string // of an error
	cursor   string // which came with it, if any
}

// A transport is a way to follow rooms.
type transport int

const (
	overSSE transport = iota
	overWebSocket
	overH2C // SSE over HTTP/2, begun without being asked for
	overH2  // SSE over HTTP/2 with TLS
)

func (over transport) String() string {
	return [...]string{"sse", "websocket", "sse-h2c", "sse-h2"}[over]
}

// streams reports whether rooms are followed over SSE.
func (over transport) streams() bool { return over != overWebSocket }

// other returns another transport, which understands the same cursors.
func (over transport) other() transport {
	if over == overWebSocket {
		return overSSE
	}
	return overWebSocket
}

// A client follows rooms on one connection at a time, and writes down all it is
// told. It takes a block or frame only when it is complete, and its cursor is the
// one that came with the last of those.
type client struct {
	// Fixed by newClient.
	t     *testing.T
	over  transport
	rooms []string
	wide  bool // the rooms are of several partitions: over SSE, an event comes without its own id

	receiveBuffer int // of each socket, in bytes; 0 leaves it to the system
	budget        int // bytes that the next connection may receive before it is cut; 0: any number

	mu      sync.Mutex // guards the fields below
	heard   []heard
	events  int
	cursor  string            // over SSE
	cursors map[string]string // over WebSocket, of each room
	changed chan struct{}     // closed, and replaced, with each change
	line    *line             // of the connection; nil while there is none
	ended   chan struct{}     // closed when the connection's reader has ended
	err     error             // why it did
}

// newClient returns a client that has not connected yet. It leaves with the test.
func newClient(t *testing.T, over transport, rooms ...string) *client {
	c := &client{t: t, over: over, rooms: rooms, cursors: make(map[string]string), changed: make(chan struct{})}
	t.Cleanup(c.cut)
	return c
}

// follow returns a client that has connected to n, from now on.
func follow(t *testing.T, n *node, over transport, rooms ...string) *client {
	t.Helper()
	c := newClient(t, over, rooms...)
	c.connect(n.at)
	return c
}

// from sets the cursor, as if it had been received.
func (c *client) from(cursor string) *client {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cursor = cursor
	for _, r := range c.rooms {
		c.cursors[r] = cursor
	}
	return c
}

// at returns the client's cursor for its first room.
func (c *client) at() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over.streams() {
		return c.cursor
	}
	return c.cursors[c.rooms[0]]
}

// connect connects to a node and waits until it has said where the connection stands.
func (c *client) connect(to address) {
	c.t.Helper()
	c.cut()
	from := c.len()
	if err := c.tryConnect(to); err != nil {
		c.t.Fatalf("%v: connect: %v", c.over, err)
	}
	opened := 0
	c.await("the connection opens", func(all []heard) bool {
		for ; from < len(all); from++ {
			if all[from].kind == "open" {
				opened++
			}
		}
		return opened == c.opens()
	})
}

// opens is how many times a connection is said to be open.
func (c *client) opens() int {
	if c.over.streams() {
		return 1
	}
	return len(c.rooms)
}

// tryConnect connects to a node, after the connection before was cut; what comes
// then is written down by a goroutine that ends with cut.
func (c *client) tryConnect(to address) error {
	c.cut()
	conn, err := net.DialTimeout("tcp", to.of(c.over), patience)
	if err != nil {
		return err
	}
	if c.receiveBuffer > 0 {
		_ = conn.(*net.TCPConn).SetReadBuffer(c.receiveBuffer)
	}
	l := newLine(conn.(*net.TCPConn), c.budget)
	c.budget = 0
	c.mu.Lock()
	cursor, cursors := c.cursor, maps.Clone(c.cursors)
	c.mu.Unlock()
	var next func() (heard, error)
	switch c.over {
	case overSSE:
		next, err = c.openStream(l, cursor)
	case overWebSocket:
		next, err = c.openSocket(l, cursors)
	default:
		next, err = c.openShared(l, cursor)
	}
	if err != nil {
		l.cut()
		return err
	}
	ended := make(chan struct{})
	c.mu.Lock()
	c.line, c.ended, c.err = l, ended, nil
	c.mu.Unlock()
	go func() {
		defer close(ended)
		defer l.cut()
		for {
			h, err := next()
			if err != nil {
				c.noteEnd(err)
				return
			}
			c.note(h)
		}
	}()
	return nil
}

// note writes down what was heard.
func (c *client) note(h heard) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard = append(c.heard, h)
	if h.kind == "event" {
		c.events++
	}
	switch {
	case h.cursor == "":
	case c.over.streams():
		c.cursor = h.cursor
	case h.kind == "position":
		// It is the earliest of all rooms': some may be further. One over several
		// partitions is no use to a client that keeps a cursor for each room.
		for _, r := range c.rooms {
			if len(h.cursor) == len(c.cursors[r]) && h.cursor > c.cursors[r] {
				c.cursors[r] = h.cursor
			}
		}
	default:
		c.cursors[h.room] = h.cursor
	}
	c.tellLocked()
}

func (c *client) noteEnd(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
	c.tellLocked()
}

func (c *client) tellLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// cut ends the connection with a reset, if there is one, and waits until all that
// came before it is written down.
func (c *client) cut() {
	c.mu.Lock()
	l, ended := c.line, c.ended
	c.line = nil
	c.mu.Unlock()
	if l != nil {
		l.cut()
		<-ended
	}
}

// pause stops reading from the connection, and resume goes on.
func (c *client) pause()  { c.theLine().hold(true) }
func (c *client) resume() { c.theLine().hold(false) }

func (c *client) theLine() *line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line
}

// awaitEnd waits until the server, or the budget, has ended the connection.
func (c *client) awaitEnd() {
	c.t.Helper()
	c.mu.Lock()
	ended := c.ended
	c.mu.Unlock()
	select {
	case <-ended:
	case <-time.After(patience):
		c.t.Fatalf("%v: the connection does not end", c.over)
	}
}

// connected reports whether the connection stands, and since it was opened has.
func (c *client) connected() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.line != nil && c.err == nil
}

func (c *client) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.heard)
}

func (c *client) eventCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.events
}

// all returns what was heard so far, on all connections.
func (c *client) all() []heard {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.heard)
}

// await waits until ok holds of all that was heard, or the connection ends.
func (c *client) await(what string, ok func(all []heard) bool) {
	c.t.Helper()
	if !c.wait(ok) {
		c.mu.Lock()
		defer c.mu.Unlock()
		last := slices.Clone(c.heard[max(0, len(c.heard)-3):])
		for i := range last {
			last[i].data = strings.TrimRight(last[i].data, ".")
		}
		c.t.Fatalf("%v: not heard: %s; %d events, the connection: %v, last %+v", c.over, what, c.events, c.err, last)
	}
}

// wait is await for any goroutine: it reports whether ok held in time.
func (c *client) wait(ok func(all []heard) bool) bool {
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for {
		c.mu.Lock()
		held, changed, err := ok(c.heard), c.changed, c.err
		c.mu.Unlock()
		if held || err != nil {
			return held
		}
		select {
		case <-changed:
		case <-deadline.C:
			return false
		}
	}
}

// awaitEvents waits until n events were heard, over all connections.
func (c *client) awaitEvents(n int) {
	c.t.Helper()
	c.await(fmt.Sprintf("%d events", n), func([]heard) bool { return c.events >= n })
}

// awaitEvent waits for an event.
func (c *client) awaitEvent(s sent) {
	c.t.Helper()
	from := 0
	c.await(fmt.Sprintf("the event %q", s.data), func(all []heard) bool {
		for ; from < len(all); from++ {
			if all[from].kind == "event" && all[from].data == s.data {
				return true
			}
		}
		return false
	})
}

// awaitLive waits until the replay of each room is done, on the present connection.
func (c *client) awaitLive() {
	c.t.Helper()
	c.await("the end of the replay", func(all []heard) bool { return c.liveIn(all) })
}

func (c *client) liveIn(all []heard) bool {
	opens, lives := 0, 0
	for i := len(all) - 1; i >= 0 && opens < c.opens(); i-- {
		switch all[i].kind {
		case "open":
			opens++
		case "live":
			lives++
		}
	}
	return lives == c.opens()
}

// compared counts the deliveries that were compared with what was published.
var compared atomic.Int64

// difference compares the events among got with want.
func (c *client) difference(want []sent, got []heard) logtest.Difference {
	var wanted, gotten []sent
	for _, s := range want {
		wanted = append(wanted, c.comparable(s))
	}
	for _, h := range got {
		if h.kind == "event" {
			gotten = append(gotten, c.comparable(sent{h.room, h.id, h.data}))
		}
	}
	compared.Add(int64(len(gotten)))
	return logtest.Compare(wanted, gotten)
}

// comparable shortens what need not be shown, and drops what the transport does
// not tell.
func (c *client) comparable(s sent) sent {
	if c.wide && c.over.streams() {
		s.id = ""
	}
	s.data = strings.TrimRight(s.data, ".")
	return s
}

// exactly fails the test unless all that was heard is want: each event once, in
// order, and no notice of a gap.
func (c *client) exactly(want []sent) {
	c.t.Helper()
	c.exactlyIn(want, c.all())
}

func (c *client) exactlyIn(want []sent, got []heard) {
	c.t.Helper()
	if d := c.difference(want, got); !d.OK() {
		c.t.Errorf("%v: %v", c.over, d)
	}
	for _, g := range gaps(got) {
		c.t.Errorf("%v: a gap notice where nothing is missing: %+v", c.over, g)
	}
}

// exactlyEach is exactly for rooms whose order among each other is not promised.
func (c *client) exactlyEach(w *world) {
	c.t.Helper()
	for _, room := range c.rooms {
		c.exactlyIn(w.truth.of(room), only(c.all(), room))
	}
}

// exactlyAll is exactly for all events of the client's rooms: over SSE in one
// order, over WebSocket in that of each room.
func (c *client) exactlyAll(w *world) {
	c.t.Helper()
	if c.over.streams() && !c.wide {
		c.exactly(w.truth.of(c.rooms...))
		return
	}
	c.exactlyEach(w)
}

// span fails the test unless a connection heard just what the log has between
// where it opened and its last cursor.
func (c *client) span(all []sent) {
	c.t.Helper()
	got := c.all()
	if len(got) == 0 || got[0].kind != "open" {
		return // cut before it was told anything
	}
	want := after(all, got[0].cursor)
	want = want[:len(want)-len(after(want, c.at()))]
	c.exactlyIn(want, got)
}

// only returns what was heard of a room.
func only(all []heard, room string) []heard {
	return slices.DeleteFunc(slices.Clone(all), func(h heard) bool { return h.room != room })
}

// gaps returns the notices of gaps.
func gaps(all []heard) []heard {
	return slices.DeleteFunc(slices.Clone(all), func(h heard) bool { return h.kind != "gap" })
}

// unexcused returns want without the events that a notice in got excuses. A
// notice excuses what lies within its bounds and comes after all that was heard
// of the room before it.
func unexcused(want []sent, got []heard) []sent {
	last := make(map[string]string) // newest id heard of each room
	excused := make(map[sent]bool)
	for _, h := range got {
		switch h.kind {
		case "event":
			last[h.room] = max(last[h.room], h.id)
		case "gap":
			for _, s := range want {
				if s.room == h.room && h.after < s.id && s.id < h.before && last[s.room] < s.id {
					excused[s] = true
				}
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(want), func(s sent) bool { return excused[s] })
}

// toldAll fails the test unless each of want was either heard, once and in order,
// or excused in its place.
func (c *client) toldAll(want []sent) {
	c.t.Helper()
	got := c.all()
	if d := c.difference(unexcused(want, got), got); !d.OK() {
		c.t.Errorf("%v: not excused by a notice: %v", c.over, d)
	}
}
