package load

import (
	"fmt"
	"os"
	"testing"
)

// newClient returns a client whose request was accepted. Its writes go to /dev/null.
func newClient(t *testing.T, p protocol) *client {
	t.Helper()
	nowhere, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nowhere.Close() })
	g := &Generator{opening: 1}
	return &client{
		g: g, conn: conn{fd: int(nowhere.Fd())}, state: accepted,
		target: &target{protocol: p}, room: &room{name: "r0"},
	}
}

// receives passes text to the client as a message from the server.
func (c *client) receives(t *testing.T, text string) {
	t.Helper()
	b := []byte(text)
	if _, ok := c.target.protocol.(sse); !ok {
		b = serverFrame(opText, b)
	}
	used, err := c.target.protocol.read(c, b)
	if err != nil || used != len(b) {
		t.Fatalf("read %d of %d bytes: %v", used, len(b), err)
	}
}

func (c *client) rejects(t *testing.T, text string) {
	t.Helper()
	b := []byte(text)
	if _, ok := c.target.protocol.(sse); !ok {
		b = serverFrame(opText, b)
	}
	if _, err := c.target.protocol.read(c, b); err == nil {
		t.Errorf("%s was accepted", text)
	}
}

func (c *client) check(t *testing.T, want Report, id string) {
	t.Helper()
	if c.g.report != want || string(c.cursor) != id || c.state != following {
		t.Errorf("counted %+v at %q in state %d, want %+v at %q", c.g.report, c.cursor, c.state, want, id)
	}
}

func event(number uint32) []byte { return appendData(nil, 0, number, 0) }

func TestTidemarkOverSSE(t *testing.T) {
	c := newClient(t, sse{})
	c.receives(t, "retry: 2000\nevent: tidemark.open\ndata: {}\nid: 01A\n\n")
	c.check(t, Report{}, "01A")
	c.receives(t, fmt.Sprintf("data: %s\nid: 01B\n\n", event(0)))
	c.receives(t, "event: tidemark.gap\ndata: {}\nid: 01C\n\n")
	c.receives(t, fmt.Sprintf("data: %s\nid: 01B\n\n", event(1))) // the id does not rise
	c.check(t, Report{Delivered: 2, Gaps: 1, OutOfOrder: 1}, "01B")
	c.receives(t, ":\n\nid: 01E\n\n")
	c.check(t, Report{Delivered: 2, Gaps: 1, OutOfOrder: 1}, "01E")
	c.rejects(t, "event: tidemark.error\ndata: {\"code\":\"draining\"}\n\n")
}

func TestTidemarkOverWebSocket(t *testing.T) {
	c := newClient(t, webSocket{tidemark{}})
	c.receives(t, `{"op":"subscribed","room":"r0","cursor":"01A"}`)
	c.check(t, Report{}, "01A")
	c.receives(t, fmt.Sprintf(`{"op":"event","room":"r0","id":"01B","type":"message","data":%s}`, event(0)))
	c.receives(t, fmt.Sprintf(`{"op":"event","room":"r0","id":"01C","type":"message","data":%s}`, event(0)))
	c.receives(t, `{"op":"gap","room":"r0","after":"01C","before":"01D","reason":"trimmed"}`)
	c.check(t, Report{Delivered: 1, Repeated: 1, Gaps: 1}, "01B")
	c.receives(t, `{"op":"position","cursor":"01E"}`)
	c.check(t, Report{Delivered: 1, Repeated: 1, Gaps: 1}, "01E")
	c.rejects(t, `{"op":"error","code":"forbidden","detail":""}`)
	c.rejects(t, `{"op":"event","room":"r0","id":"01B"}`)
}

func TestBareWebSocket(t *testing.T) {
	c := newClient(t, webSocket{bare{}})
	c.markFollowing()
	c.receives(t, string(event(1)))
	c.receives(t, string(event(0)))
	c.check(t, Report{Delivered: 2, OutOfOrder: 1}, "")
	c.rejects(t, "hello")
}

func TestSocketIO(t *testing.T) {
	c := newClient(t, webSocket{socketIO{}})
	c.receives(t, `0{"sid":"s"}`)
	c.receives(t, `40{"sid":"s","pid":"private"}`)
	c.receives(t, `42["joined"]`)
	c.receives(t, "2")
	c.receives(t, fmt.Sprintf(`42["event",%s,"offset"]`, event(0)))
	c.check(t, Report{Delivered: 1}, "offset")
	if got, want := (socketIO{}).connect(c), `40{"pid":"private","offset":"offset"}`; got != want {
		t.Errorf("reconnects with %s, want %s", got, want)
	}
	c.rejects(t, `44{"message":"no"}`)
}
