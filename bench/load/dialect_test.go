package load

import (
	"fmt"
	"os"
	"testing"
)

// newClient is a client whose answer has been accepted, on a connection that leads
// nowhere.
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

// hears has the client read what a server sends.
func (c *client) hears(t *testing.T, text string) {
	t.Helper()
	b := []byte(text)
	if _, ok := c.target.protocol.(sse); !ok {
		b = serverFrame(opText, b)
	}
	used, err := c.target.protocol.read(c, b)
	if err != nil || used != len(b) {
		t.Fatalf("%d of %d bytes read: %v", used, len(b), err)
	}
}

func (c *client) refuses(t *testing.T, text string) {
	t.Helper()
	b := []byte(text)
	if _, ok := c.target.protocol.(sse); !ok {
		b = serverFrame(opText, b)
	}
	if _, err := c.target.protocol.read(c, b); err == nil {
		t.Errorf("%s was taken", text)
	}
}

func (c *client) check(t *testing.T, want Report, id string) {
	t.Helper()
	if c.g.report != want || string(c.id) != id || c.state != following {
		t.Errorf("counted %+v at %q in state %d, want %+v at %q", c.g.report, c.id, c.state, want, id)
	}
}

func event(number uint32) []byte { return appendData(nil, 0, number, 0) }

func TestTidemarkOverSSE(t *testing.T) {
	c := newClient(t, sse{})
	c.hears(t, "retry: 2000\nevent: tidemark.open\ndata: {}\nid: 01A\n\n")
	c.check(t, Report{}, "01A")
	c.hears(t, fmt.Sprintf("data: %s\nid: 01B\n\n", event(0)))
	c.hears(t, "event: tidemark.gap\ndata: {}\nid: 01C\n\n")
	c.hears(t, fmt.Sprintf("data: %s\nid: 01B\n\n", event(1))) // its id does not rise
	c.check(t, Report{Delivered: 2, Gaps: 1, OutOfOrder: 1}, "01B")
	c.hears(t, ":\n\nid: 01E\n\n")
	c.check(t, Report{Delivered: 2, Gaps: 1, OutOfOrder: 1}, "01E")
	c.refuses(t, "event: tidemark.error\ndata: {\"code\":\"draining\"}\n\n")
}

func TestTidemarkOverWebSocket(t *testing.T) {
	c := newClient(t, webSocket{tidemark{}})
	c.hears(t, `{"op":"subscribed","room":"r0","cursor":"01A"}`)
	c.check(t, Report{}, "01A")
	c.hears(t, fmt.Sprintf(`{"op":"event","room":"r0","id":"01B","type":"message","data":%s}`, event(0)))
	c.hears(t, fmt.Sprintf(`{"op":"event","room":"r0","id":"01C","type":"message","data":%s}`, event(0)))
	c.hears(t, `{"op":"gap","room":"r0","after":"01C","before":"01D","reason":"trimmed"}`)
	c.check(t, Report{Delivered: 1, Repeated: 1, Gaps: 1}, "01B")
	c.hears(t, `{"op":"position","cursor":"01E"}`)
	c.check(t, Report{Delivered: 1, Repeated: 1, Gaps: 1}, "01E")
	c.refuses(t, `{"op":"error","code":"forbidden","detail":""}`)
	c.refuses(t, `{"op":"event","room":"r0","id":"01B"}`)
}

func TestBareWebSocket(t *testing.T) {
	c := newClient(t, webSocket{bare{}})
	c.follows()
	c.hears(t, string(event(1)))
	c.hears(t, string(event(0)))
	c.check(t, Report{Delivered: 2, OutOfOrder: 1}, "")
	c.refuses(t, "hello")
}

func TestSocketIO(t *testing.T) {
	c := newClient(t, webSocket{socketIO{}})
	c.hears(t, `0{"sid":"s"}`)
	c.hears(t, `40{"sid":"s","pid":"private"}`)
	c.hears(t, `42["joined"]`)
	c.hears(t, "2")
	c.hears(t, fmt.Sprintf(`42["event",%s,"offset"]`, event(0)))
	c.check(t, Report{Delivered: 1}, "offset")
	if got, want := (socketIO{}).connect(c), `40{"pid":"private","offset":"offset"}`; got != want {
		t.Errorf("it comes back with %s, want %s", got, want)
	}
	c.refuses(t, `44{"message":"no"}`)
}
