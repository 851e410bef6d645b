//go:build linux

package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
)

// A transport is a way to follow a room.
type transport int

const (
	overSSE transport = iota
	overWebSocket
)

func transports() []transport { return []transport{overSSE, overWebSocket} }

func (over transport) String() string { return [...]string{"SSE", "WebSocket"}[over] }

// again is how long a follower that was cut waits before it comes back.
const again = 100 * time.Millisecond

// A follower follows a room, and writes down what it is told. It takes a block or
// frame only when it is complete; its cursor is the last that came with one.
type follower struct {
	// Fixed before follow.
	over    transport
	room    string
	cursor  string // where to start, then owned by run
	dial    func() (*line, error)
	returns bool            // it comes back when it was cut
	asleep  <-chan struct{} // it reads nothing after the opening until this is closed; nil: it reads
	parted  func()          // called when it is sent away; may be nil

	// Fixed by follow.
	t     testing.TB
	quit  chan struct{} // closed by leave
	ended chan struct{} // closed when run has ended

	mu       sync.Mutex // guards the fields below
	line     *line      // of the connection; nil while there is none
	opened   int        // connections
	ids      []string   // of events
	partings []parting
	strange  []string // what it should not have been told
	err      error    // why the last connection ended
}

// A parting is what a server says when it sends a client away.
type parting struct {
	at    time.Time
	code  string        // draining, or the number of a close frame
	retry time.Duration // over SSE
}

// follow starts f, and returns it once it is connected. It leaves with the test.
func follow(t testing.TB, f *follower) *follower {
	t.Helper()
	f.t, f.quit, f.ended = t, make(chan struct{}), make(chan struct{})
	go f.run()
	t.Cleanup(f.leave)
	f.await("to be connected", func() bool { return f.opened > 0 })
	return f
}

// leave ends the follower and waits for it. Leaving again does nothing.
func (f *follower) leave() {
	f.mu.Lock()
	if !f.leftLocked() {
		close(f.quit)
	}
	if f.line != nil {
		f.line.reset()
	}
	f.mu.Unlock()
	<-f.ended
}

func (f *follower) leftLocked() bool {
	select {
	case <-f.quit:
		return true
	default:
		return false
	}
}

// await waits until ok holds, which is called with f.mu held.
func (f *follower) await(what string, ok func() bool) {
	f.t.Helper()
	locked := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return ok()
	}
	if !poll(locked) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.t.Fatalf("%v: waits %s; %d connections, %d events, the last one ended with: %v", f.over, what, f.opened, len(f.ids), f.err)
	}
}

// address is the client's end of the connection.
func (f *follower) address() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.line.LocalAddr().String()
}

// connections counts those that stood, with the one that does.
func (f *follower) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.opened
}

// exactly waits for the last of want, and fails the test unless f has heard just
// those events, in order, and nothing that it should not have.
func (f *follower) exactly(want []string) {
	f.t.Helper()
	if len(want) == 0 {
		f.t.Fatalf("%v: nothing was published", f.over)
	}
	last := want[len(want)-1]
	f.await("for the last event", func() bool { return slices.Contains(f.ids[max(0, len(f.ids)-atOnce):], last) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if d := logtest.Compare(want, f.ids); !d.OK() {
		f.t.Errorf("%v: %v", f.over, d)
	}
	for _, s := range f.strange {
		f.t.Errorf("%v: was told %s", f.over, s)
	}
}

// stayed fails the test if the connection did not last.
func (f *follower) stayed() {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened != 1 || f.err != nil {
		f.t.Errorf("%v: %d connections, the last one ended with: %v", f.over, f.opened, f.err)
	}
}

func (f *follower) run() {
	defer close(f.ended)
	for {
		err := f.connect()
		f.mu.Lock()
		left := f.leftLocked()
		if !left {
			f.err = err
		}
		f.mu.Unlock()
		if left || !f.returns {
			return
		}
		select {
		case <-f.quit:
		case <-time.After(again):
		}
	}
}

// connect follows over one connection until it ends, and returns why it did.
func (f *follower) connect() error {
	l, err := f.dial()
	if err != nil {
		return err
	}
	defer l.Close()
	_ = l.SetDeadline(time.Time{}) // it may be quiet
	f.mu.Lock()
	left := f.leftLocked()
	f.line = l
	f.mu.Unlock()
	if left {
		return nil
	}
	if f.over == overSSE {
		return f.followStream(l)
	}
	return f.followSocket(l)
}

// open notes that a connection stands, and where.
func (f *follower) open(cursor string) {
	f.cursor = cursor
	f.mu.Lock()
	f.opened++
	f.mu.Unlock()
	if f.asleep != nil {
		select {
		case <-f.asleep:
		case <-f.quit:
		}
	}
}

func (f *follower) followStream(l *line) error {
	var fields []string
	if f.cursor != "" {
		fields = append(fields, "Last-Event-ID: "+f.cursor)
	}
	blocks, first, err := l.openStream("/v1/rooms/"+f.room+"/events", fields...)
	for ; err == nil; first, err = readBlock(blocks) {
		f.hearBlock(first)
	}
	return err
}

// hearBlock takes a block of an event stream.
func (f *follower) hearBlock(text string) {
	block := make(map[string]string)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		block[name] = value
	}
	id := block["id"]
	switch event := block["event"]; {
	case event == "tidemark.open":
		f.open(id)
	case event == "tidemark.error":
		f.part(parting{code: codeOf(block["data"]), retry: milliseconds(block["retry"])})
	case event == "tidemark.live", block["data"] == "":
	case strings.HasPrefix(event, "tidemark."):
		f.wonder(text)
	default:
		f.hear(id)
	}
	if id != "" {
		f.cursor = id
	}
}

func milliseconds(text string) time.Duration {
	d, _ := time.ParseDuration(text + "ms")
	return d
}

func codeOf(data string) string {
	var said struct{ Code string }
	_ = json.Unmarshal([]byte(data), &said) // no code is strange enough
	return said.Code
}

func (f *follower) followSocket(l *line) error {
	if err := l.openSocket(); err != nil {
		return err
	}
	ask := map[string]string{"op": "subscribe", "room": f.room}
	if f.cursor != "" {
		ask["since"] = f.cursor
	}
	text, err := json.Marshal(ask)
	if err != nil {
		return err
	}
	if err := l.say(string(text)); err != nil {
		return err
	}
	for {
		kind, payload, err := l.readFrame()
		if err != nil {
			return err
		}
		if kind == closeFrame {
			code := closeCode(payload)
			f.part(parting{code: fmt.Sprint(code)})
			_ = l.send(frame(closeFrame, string(payload)))
			return fmt.Errorf("closed with %d", code)
		}
		if err := f.hearFrame(payload); err != nil {
			return err
		}
	}
}

// hearFrame takes a text frame.
func (f *follower) hearFrame(text []byte) error {
	var said struct{ Op, ID, Cursor, Code string }
	if err := json.Unmarshal(text, &said); err != nil {
		return fmt.Errorf("frame %q: %w", text, err)
	}
	switch said.Op {
	case "subscribed":
		f.open(said.Cursor)
	case "event":
		f.hear(said.ID)
		f.cursor = said.ID
	case "live", "position":
		f.cursor = said.Cursor
	case "error":
		f.part(parting{code: said.Code})
		return errors.New(said.Code)
	default:
		f.wonder(string(text))
	}
	return nil
}

func (f *follower) hear(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ids = append(f.ids, id)
}

func (f *follower) part(p parting) {
	p.at = time.Now()
	if f.parted != nil {
		f.parted()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.partings = append(f.partings, p)
}

func (f *follower) wonder(text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.strange = append(f.strange, text)
}
