package compose

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/program"
)

// to returns the environment of a client of the server at url.
func to(url string) program.Options {
	return program.Options{Env: []string{"TIDEMARK_URL=" + url}}
}

// publish publishes n events into the room through url, and returns their ids.
func publish(t *testing.T, url, room string, n int) []string {
	t.Helper()
	o := to(url)
	o.Stdin = strings.Repeat("\"x\"\n", n)
	return strings.Fields(tidemark.Must(t, o, "publish", room))
}

// A tail is the program's own follower of a room, over SSE.
type tail struct{ *program.Process }

func tailRoom(t *testing.T, url, room, since string) tail {
	t.Helper()
	return tail{tidemark.Start(t, to(url), "tail", room, "--since", since, "--json")}
}

// await waits for n events and returns the ids of all that came.
func (f tail) await(t *testing.T, n int) []string {
	t.Helper()
	var ids []string
	for _, line := range f.Stdout.AwaitLines(t, n) {
		var e struct{ ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

// same fails the test unless got is exactly want, in order.
func same(t *testing.T, who string, want, got []string) {
	t.Helper()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Errorf("%s: %v", who, d)
	}
}

// Events published through nginx reach followers behind nginx at once, over both transports.
func TestThroughTheProxy(t *testing.T) {
	t.Parallel()
	top := up(t)
	sse := tailRoom(t, top.url, "lobby", "earliest")
	socket := listen(t, top.url, "lobby", "earliest")
	var want []string
	for range 5 { // waits for each event: with a proxy that buffers, it would hang here
		want = append(want, publish(t, top.url, "lobby", 1)...)
		same(t, "SSE", want, sse.await(t, len(want)))
		same(t, "WebSocket", want, socket.AwaitEvents(len(want)))
	}
	if got := tidemark.Must(t, to(top.url), "health"); got != "ok\n" {
		t.Errorf("health through nginx printed %q", got)
	}
}

// A follower resumes from the middle of a room of 1,000 events on the other node: it
// receives exactly the second half, then live events.
func TestResumeOnTheOtherNode(t *testing.T) {
	t.Parallel()
	top := up(t)
	one, other := top.nodes["node1"].URL(), top.nodes["node2"].URL()
	want := publish(t, one, "lobby", 1000)
	middle := want[499]
	sse := tailRoom(t, other, "lobby", middle)
	socket := listen(t, other, "lobby", middle)
	proxied := tailRoom(t, top.url, "lobby", middle)
	want = want[500:]
	same(t, "SSE", want, sse.await(t, 500))
	want = append(want, publish(t, one, "lobby", 1)...)
	same(t, "SSE", want, sse.await(t, len(want)))
	same(t, "WebSocket", want, socket.AwaitEvents(len(want)))
	same(t, "SSE through nginx", want, proxied.await(t, len(want)))
}

// A node is killed during publishing. Its followers resume on the other node and miss
// nothing. The room has no event twice, because the publisher repeats with the same keys.
func TestKillNode(t *testing.T) {
	t.Parallel()
	top := up(t)
	tails := make([]tail, 4)
	for i := range tails {
		tails[i] = tailRoom(t, top.url, "lobby", "earliest")
	}
	socket := listen(t, top.url, "lobby", "earliest")
	want := publish(t, top.url, "lobby", 100)
	for i, f := range tails {
		same(t, fmt.Sprint("tail ", i), want, f.await(t, 100))
	}

	o := to(top.url)
	o.Stdin = strings.Repeat("\"x\"\n", 5000) // ten batches
	publisher := tidemark.Start(t, o, "publish", "lobby")
	publisher.Stdout.AwaitLines(t, 1)
	top.nodes["node1"].Kill()
	if code := publisher.Wait(); code != 0 {
		t.Fatalf("publish: exit code %d\n%s", code, publisher.Stderr)
	}
	want = append(want, strings.Fields(publisher.Stdout.String())...)
	want = append(want, publish(t, top.url, "lobby", 10)...)

	moved := 0
	for i, f := range tails {
		same(t, fmt.Sprint("tail ", i), want, f.await(t, len(want)))
		if strings.Contains(f.Stderr.String(), `back, on node "node2"`) {
			moved++
		}
		f.Signal(syscall.SIGINT)
		f.Wait()
	}
	same(t, "WebSocket", want, socket.AwaitEvents(len(want)))
	if moved == 0 || moved == len(tails) {
		t.Errorf("%d of %d connections were on the node that was killed", moved, len(tails))
	}
}
