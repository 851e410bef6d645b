//go:build linux

package edge

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/http2"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/sse"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// During the pause a node reports that it is not ready and still serves streams and
// publishes, each of which tells the client to go elsewhere. Then it disconnects its
// clients.
func TestScenario39Pause(t *testing.T) {
	s := serve(t, "--data", t.TempDir(), "--drain-pause=5s", "--drain-spread=100ms")
	c := &caller{to: s.Addr}
	before := followRoom(t, followOptions{over: follow.SSE, room: "lobby", dial: c.dial})
	s.Signal(syscall.SIGTERM)
	if !wait.For(func() bool { return status(s, "/readyz") == http.StatusServiceUnavailable }) {
		t.Fatal("the node does not report that it is draining")
	}
	during := followRoom(t, followOptions{over: follow.SSE, room: "lobby", dial: c.dial})
	l := mustDial(t, c)
	must(t, l.send(post("/v1/rooms/lobby/events", `{"data":1}`)))
	res, err := l.answer()
	must(t, err)
	if res.StatusCode != http.StatusCreated || !res.Close {
		t.Errorf("a publish in the pause: %s, connection closed: %v", res.Status, res.Close)
	}
	for _, f := range []*follower{before, during} {
		f.Await("for the event, then to be sent away", func(s *follow.State) bool { return len(s.IDs) == 1 && len(rejectionsIn(s)) == 1 })
	}
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
}

// status returns the status of the node's answer; 0 if nothing answers.
func status(s *server, path string) int {
	res, err := s.http.Get(s.URL() + path)
	if err != nil {
		return 0
	}
	res.Body.Close()
	return res.StatusCode
}

// A second signal during the pause ends the node at once.
func TestScenario39SecondSignalInThePause(t *testing.T) {
	s := serve(t, "--data", t.TempDir(), "--drain-pause=10m")
	s.Signal(syscall.SIGTERM)
	if !wait.For(func() bool { return status(s, "/readyz") == http.StatusServiceUnavailable }) {
		t.Fatal("the node does not report that it is draining")
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != -1 {
		t.Errorf("exit code %d: it ended in order, want by the signal", code)
	}
}

// A draining node ends every stream of an HTTP/2 connection with a drain message and a
// reset. A client that reads nothing does not hold up the node.
func TestScenario39OverHTTP2(t *testing.T) {
	const streams = 20
	s := serve(t, "--h2c", "--data", t.TempDir(), "--drain-spread=500ms")
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: wait.Limit}
	before := s.holdings().descriptors
	ended := make(chan error, streams)
	for range streams {
		r, err := http.NewRequest(http.MethodGet, s.URL()+"/v1/rooms/lobby/events", nil)
		must(t, err)
		r.Header.Set("Accept", "text/event-stream")
		res, err := client.Do(r)
		must(t, err)
		defer res.Body.Close()
		go func() { ended <- readDrain(sse.NewReader(res.Body)) }()
	}
	stalled := mustDial(t, &caller{to: s.Addr})
	must(t, stalled.send(http2.ClientPreface))
	must(t, http2.NewFramer(stalled, nil).WriteSettings())
	if got := s.await("all streams", func(h holdings) bool { return h.sse == streams }); got.descriptors > before+streams/2 {
		t.Errorf("%d streams hold %d descriptors", streams, got.descriptors-before)
	}
	s.Signal(syscall.SIGTERM)
	for range streams {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
}

// readDrain reads a stream to its end, which must be a reset after the drain message.
func readDrain(blocks *sse.Reader) error {
	last := ""
	for {
		block, err := blocks.Next()
		if err == nil {
			last = block.Text
			continue
		}
		if _, reset := errors.AsType[http2.StreamError](err); !reset || !strings.Contains(last, `"code":"draining"`) || !strings.HasPrefix(last, "retry: ") {
			return fmt.Errorf("the stream ends with %v, behind %q", err, last)
		}
		return nil
	}
}
