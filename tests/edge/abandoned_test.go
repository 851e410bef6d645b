//go:build linux

package edge

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/tests/internal/ws"
)

const (
	// abandonedEach is the number of upgrades, and of requests, that clients abandon.
	abandonedEach = 10_000
	// atOnce is the number of clients that run at the same time.
	atOnce = 64
	// silent is the number of clients that send half a header and nothing more.
	silent = 100
)

// A retreat describes how a client abandons a request.
type retreat struct {
	text  string // of the request
	sent  int    // bytes of the request to send
	read  int    // bytes of the answer to wait for
	reset bool   // reset the connection instead of closing it

	// after, if set, is sent when the answer's header has arrived.
	after string
}

// play connects to the server, sends the request and leaves.
func (r retreat) play(c *caller) error {
	l, err := c.dial()
	if err != nil {
		return err
	}
	defer l.Close()
	if err := l.send(r.text[:r.sent]); err != nil {
		return fmt.Errorf("%.40q: %w", r.text, err)
	}
	if _, err := io.ReadFull(l, make([]byte, r.read)); err != nil {
		return fmt.Errorf("%.40q: the answer: %w", r.text, err)
	}
	if r.after != "" {
		if _, err := l.answer(); err != nil {
			return fmt.Errorf("%.40q: the answer: %w", r.text, err)
		}
		if err := l.send(r.after); err != nil {
			return err
		}
	}
	if r.reset {
		l.reset()
	}
	return nil
}

// leastAnswer is a number of bytes that the header of every answer has.
const leastAnswer = 100

// retreatFrom returns a way to abandon the request at a random point.
func retreatFrom(random *rand.Rand, text, after string) retreat {
	r := retreat{text: text, sent: len(text), reset: random.IntN(2) == 0}
	switch random.IntN(5) {
	case 4: // before the first byte
		r.sent = 0
	case 0: // while the request is sent
		r.sent = random.IntN(len(text))
	case 1: // while the server prepares the answer
	case 2: // while the answer arrives
		r.read = 1 + random.IntN(leastAnswer)
	case 3: // inside the first message after the answer
		r.after = after[:random.IntN(len(after)+1)]
	}
	return r
}

// Clients abandon ten thousand upgrades half-way, and ten thousand requests while their
// headers are sent or answered. A hundred more clients stop sending in the middle of a
// header. Afterwards the server holds no more than before.
func TestScenario34GivenUpHalfWay(t *testing.T) {
	s := serve(t, "--data", t.TempDir())
	c := &caller{to: s.Addr}
	fill(t, s, "lobby", 50)
	before := s.awaitRest()

	quiet := fallSilent(t, c)
	subscribe := ws.Frame(ws.Text, `{"op":"subscribe","room":"lobby","since":"earliest"}`)
	body := `{"data":1}`
	streams := []string{
		stream("/v1/rooms/lobby/events?since=earliest"),
		stream("/v1/events?room=lobby&room=hall", "Last-Event-ID: earliest"),
	}
	requests := []string{
		request("GET", "/v1/rooms/lobby/events"),
		post("/v1/rooms/hall/events", body),
		post("/v1/events", `{"events":[{"room":"hall","data":1}]}`),
		request("GET", "/readyz"),
	}
	abandon(t, "upgrades", func(random *rand.Rand) error {
		return retreatFrom(random, upgrade(), subscribe).play(c)
	})
	abandon(t, "requests", func(random *rand.Rand) error {
		if i := random.IntN(2 * len(streams)); i < len(streams) {
			return retreatFrom(random, streams[i], "").play(c)
		}
		text := requests[random.IntN(len(requests))]
		return retreatFrom(random, text, text).play(c) // the next request on the same connection
	})
	for _, l := range quiet {
		if _, err := l.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a client that sends half a header is still there: %v", err)
		}
		l.Close()
	}
	s.awaitReturn(before)
	t.Logf("before: %+v, after: %+v", before, s.holdings())
	fill(t, s, "lobby", 1)
}

// abandon plays n retreats, many at once.
func abandon(t *testing.T, what string, one func(*rand.Rand) error) {
	t.Helper()
	var running sync.WaitGroup
	for worker := range atOnce {
		running.Go(func() {
			random := rand.New(rand.NewPCG(34, uint64(worker)))
			for i := worker; i < abandonedEach; i += atOnce {
				if err := one(random); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	running.Wait()
}

// fallSilent returns connections on which half a header was sent.
func fallSilent(t *testing.T, c *caller) []*conn {
	t.Helper()
	lines := make([]*conn, silent)
	for i := range lines {
		l, err := c.dial()
		if err != nil {
			t.Fatal(err)
		}
		text := upgrade()
		if err := l.send(text[:len(text)/2]); err != nil {
			t.Fatal(err)
		}
		lines[i] = l
	}
	return lines
}

// fill publishes n events into room.
func fill(t testing.TB, s *server, room string, n int) {
	t.Helper()
	for range n {
		l, err := (&caller{to: s.Addr}).dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := l.send(post("/v1/rooms/"+room+"/events", `{"data":"x"}`)); err != nil {
			t.Fatal(err)
		}
		if res, err := l.answer(); err != nil || res.StatusCode != http.StatusCreated {
			t.Fatalf("publish: %v, %v", res, err)
		}
		l.Close()
	}
}
