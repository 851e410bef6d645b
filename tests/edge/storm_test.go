//go:build linux

package edge

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
)

const (
	// held is the number of connections that stand until they are cut at once.
	held = 10_000
	// arrivals is the number of clients that connect meanwhile, one after each pause. The
	// cut comes when a quarter of them has connected.
	arrivals = 4000
	pause    = time.Millisecond
	// prompt bounds the time until a client is served. It is generous: with ten thousand
	// others on two busy cores, a second is normal.
	prompt = 10 * time.Second
)

// Ten thousand connections are cut at once while a thousand clients a second connect. Every
// new client is served promptly, the server frees all cut connections, and the followers
// that stay receive every event in order.
func TestScenario37CutAtOnce(t *testing.T) {
	needDescriptors(t, held+arrivals)
	s := serve(t, "--data", t.TempDir(), "--retain", "*=100000")
	c := &caller{to: s.Addr}
	var follows []*follower
	for i := range 8 {
		follows = append(follows, followRoom(t, followOptions{over: transports()[i%2], room: "busy", dial: c.dial}))
	}
	p := startPublisher(t, s, "busy")
	before := s.holdings()
	lines := openHeld(t, c)
	s.await("all connections", func(h holdings) bool { return h.sse+h.sockets == held+len(follows) })

	var cutting sync.WaitGroup
	cut := func() {
		cutting.Go(func() {
			for _, l := range lines {
				l.reset()
			}
		})
	}
	began := time.Now()
	waits := arrive(t, c, cut)
	t.Logf("%d arrivals in %v, the slowest served after %v, half of them within %v",
		len(waits), time.Since(began), slices.Max(waits), median(waits))
	if worst := slices.Max(waits); worst > prompt {
		t.Errorf("a client was served after %v", worst)
	}
	cutting.Wait()
	published := p.stop()
	for _, f := range follows {
		f.exactly(published)
		f.stayed()
	}
	s.awaitReturn(before)
	t.Logf("%d events to each follower meanwhile; before: %+v, after: %+v", len(published), before, s.holdings())
}

// needDescriptors fails the test if a process may not open n descriptors.
func needDescriptors(t *testing.T, n uint64) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max < n {
		t.Fatalf("a process may have %d open files here, and this needs %d: raise it (ulimit -Hn)", limit.Max, n)
	}
}

// openHeld returns open connections, half of them streams and half sockets.
func openHeld(t *testing.T, c *caller) []*conn {
	t.Helper()
	lines := make([]*conn, held)
	var running sync.WaitGroup
	for worker := range atOnce {
		running.Go(func() {
			for i := worker; i < held; i += atOnce {
				l, err := openFollower(c, i)
				if err != nil {
					t.Error(err)
					return
				}
				lines[i] = l
			}
		})
	}
	running.Wait()
	t.Cleanup(func() {
		for _, l := range lines {
			if l != nil {
				l.reset()
			}
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return lines
}

// openFollower opens a connection that follows a room. i selects the room and the transport.
func openFollower(c *caller, i int) (*conn, error) {
	l, err := c.dial()
	if err != nil {
		return nil, err
	}
	room := "busy"
	if n := i / 2 % 100; n > 0 {
		room = fmt.Sprint("room", n)
	}
	if i%2 == 0 {
		_, _, err = l.openStream("/v1/rooms/" + room + "/events")
	} else {
		err = converse(`{"op":"subscribe","room":"ROOM"}`, `"live"`)(l, room)
	}
	if err != nil {
		l.reset()
		return nil, err
	}
	return l, nil
}

// arrive connects clients at fixed times, whether or not earlier ones are served, and
// returns how long each waited. It calls cut in between.
func arrive(t *testing.T, c *caller, cut func()) []time.Duration {
	t.Helper()
	waits := make([]time.Duration, arrivals)
	began := time.Now()
	var running sync.WaitGroup
	for i := range waits {
		if i == arrivals/4 {
			cut()
		}
		time.Sleep(time.Until(began.Add(time.Duration(i) * pause)))
		running.Go(func() {
			called := time.Now()
			l, err := openFollower(c, i)
			if err != nil {
				t.Errorf("arrival %d: %v", i, err)
				return
			}
			waits[i] = time.Since(called)
			l.reset()
		})
	}
	running.Wait()
	return waits
}

func median(waits []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(waits))[len(waits)/2]
}

// A publisher publishes into a room, one event after the other, until stop.
type publisher struct {
	quit, done chan struct{}
	ids        []string // owned by its goroutine until done is closed
}

// startPublisher returns a publisher that has published its first event.
func startPublisher(t *testing.T, s *server, room string) *publisher {
	t.Helper()
	p := &publisher{quit: make(chan struct{}), done: make(chan struct{})}
	first := make(chan struct{})
	go func() {
		defer close(p.done)
		kept := &http.Transport{}
		defer kept.CloseIdleConnections()
		client := &http.Client{Transport: kept, Timeout: wait.Limit}
		for i := 0; ; i++ {
			id, err := publishTo(client, s.URL(), room, fmt.Sprint(i), "")
			if err != nil {
				t.Errorf("publish: %v", err)
				return
			}
			p.ids = append(p.ids, id)
			if i == 0 {
				close(first)
			}
			select {
			case <-p.quit:
				return
			case <-time.After(pause):
			}
		}
	}()
	select {
	case <-first:
	case <-p.done:
	}
	return p
}

// stop ends the publisher and returns the ids of its events.
func (p *publisher) stop() []string {
	close(p.quit)
	<-p.done
	return p.ids
}
