package fault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// few is a client mix that leaves the machine mostly idle.
var few = clientMix{steady: 4, several: 3}

// awaitLive waits until every client is live.
func (w *system) awaitLive() {
	w.t.Helper()
	for _, c := range w.allClients() {
		wait.Until(w.t, c.name+" to be live", c.isLive)
	}
}

// Redis accepts connections and answers nothing. Publishes fail within their time limit with
// a delay for the retry, nodes are not ready, and connections stay and are told once. When
// Redis answers again, every event arrives.
func TestScenario06BlackHole(t *testing.T) {
	t.Parallel()
	w := newSystem(t, "06: Redis black-holed", newStandalone(t, "always"), plan{nodes: 2, rooms: 2})
	w.startClients(few)
	end := w.begin(w.publishers(50))
	w.awaitLive()
	connects := w.counts.connects.Load()

	for _, n := range w.nodes {
		n.redis.inject(blackHole())
	}
	var asking sync.WaitGroup
	for _, n := range w.nodes {
		asking.Go(func() { w.checkRefused(n) })
	}
	for _, n := range w.nodes {
		wait.Until(t, "node "+n.name+" to be not ready", func() bool { return !n.ready() })
	}
	for _, c := range w.allClients() {
		wait.Until(t, c.name+" to report the outage", func() bool { return c.outages() > 0 })
	}
	for _, n := range w.nodes {
		n.redis.heal()
	}
	asking.Wait()
	w.measureRecovery(w.nodes...)
	for _, c := range w.allClients() {
		if n := c.outages(); n != 1 {
			t.Errorf("%s got %d reports that the log does not answer", c.name, n)
		}
	}
	end()
	w.checkNoReconnects(connects)
	w.conclude()
}

// checkRefused publishes through n until that succeeds, and fails the test unless n first
// refused correctly.
func (w *system) checkRefused(n *node) {
	refused := 0
	p := &publisher{w: w, rooms: []*room{w.probes}, url: "http://" + n.addr}
	p.heard = func(resp *http.Response, took time.Duration) {
		if resp.StatusCode == http.StatusCreated || resp.StatusCode == http.StatusOK {
			return
		}
		refused++
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || took > attemptLimit {
			w.t.Errorf("without Redis, %s answered after %v: %s, Retry-After %q", n.name, took, resp.Status, resp.Header.Get("Retry-After"))
		}
	}
	if _, ok := w.publishOne(p); ok && refused == 0 {
		w.t.Errorf("%s took an event without Redis", n.name)
	}
}

// checkNoReconnects fails the test if any client had to connect again.
func (w *system) checkNoReconnects(connects int64) {
	w.t.Helper()
	if n := w.counts.connects.Load() - connects; n != 0 {
		w.t.Errorf("clients had to connect %d times again", n)
	}
}

// Nodes and Redis are killed at random. Every acknowledged event is in the log.
func TestScenario07Killed(t *testing.T) {
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		log := newStandalone(t, "always")
		w := newSystem(t, "07: killed, Redis", log, plan{nodes: 3, rooms: 4})
		nodes := []fault{{"node killed -9", func(w *system, r *rand.Rand) {
			n := w.someNode(r)
			n.kill()
			n.start()
		}}}
		redis := []fault{{"Redis killed -9", func(w *system, r *rand.Rand) {
			log.server.Kill()
			log.server.Restart()
		}}}
		w.killing(nodes, redis)
	})
	t.Run("embedded", func(t *testing.T) {
		log := &embedded{dir: t.TempDir()}
		w := newSystem(t, "07: killed, embedded log", log, plan{nodes: 1, rooms: 4})
		log.node = w.nodes[0]
		w.killing([]fault{{"node killed -9", func(w *system, r *rand.Rand) {
			w.nodes[0].kill()
			w.nodes[0].start()
		}}})
	})
}

func (w *system) killing(tracks ...[]fault) {
	w.startClients(clientMix{steady: 2, restless: 1})
	w.run(round{
		lasts: inCut(8*time.Second, 40*time.Second), calm: 300 * time.Millisecond,
		publishers: w.publishers(400), tracks: tracks,
	})
	if n := w.counts.lost.Load(); n > 0 {
		w.t.Errorf("%d acknowledged events are not in the log", n)
	}
	w.conclude()
}

// embedded is the embedded log of one node.
type embedded struct {
	dir  string
	node *node
}

var _ deployment = (*embedded)(nil)

func (e *embedded) topology() string                   { return "none: the embedded log" }
func (e *embedded) partitions() int                    { return 1 }
func (e *embedded) keepsAcknowledged() bool            { return true }
func (e *embedded) reach(*testing.T) ([]string, *link) { return []string{"--data=" + e.dir}, nil }
func (e *embedded) takeSeen(*room) map[streams.ID]bool { return nil }
func (e *embedded) faults() []fault                    { return nil }
func (e *embedded) lossFaults() []fault                { return nil }

// read reads the room's history from its node.
func (e *embedded) read(ctx context.Context, r *room, after streams.ID) ([]entry, error) {
	const page = 1000
	var all []entry
	for {
		url := fmt.Sprintf("http://%s/v1/rooms/%s/events?after=%v&limit=%d", e.node.addr, r.name, after, page)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil, err
		}
		var said struct {
			Events []struct {
				ID   streams.ID
				Data json.RawMessage
			}
		}
		err = json.NewDecoder(resp.Body).Decode(&said)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("history: %s: %w", resp.Status, err)
		}
		for _, e := range said.Events {
			m, _ := parseMark(e.Data)
			after = e.ID
			all = append(all, entry{after, m})
		}
		if len(said.Events) < page {
			return all, nil
		}
	}
}

// Redis's clock is ahead of the nodes' clocks, steps back and forth, and stays behind. In
// the full run one node's clock is 5 s ahead too.
func TestScenario09Clocks(t *testing.T) {
	t.Parallel()
	log := newSteppable(t)
	w := newSystem(t, "09: clocks", log, plan{nodes: 2, rooms: 4})
	w.clockSlack = 20 * time.Second
	if *full {
		w.addSkewed("ahead")
	}
	w.startClients(clientMix{steady: 2, restless: 4, several: 6})
	step := func(d time.Duration) fault {
		return fault{fmt.Sprintf("Redis's clock steps by %v", d), func(w *system, r *rand.Rand) { log.server.StepClock(d) }}
	}
	w.run(round{
		lasts: inCut(10*time.Second, 30*time.Second), publishers: w.publishers(400),
		once: []fault{step(5 * time.Second), step(-2 * time.Second), step(-5 * time.Second), step(-2 * time.Second)},
	})
	w.conclude()
}

// Redis disconnects nodes again and again because their output buffers are full. Clients
// stay connected.
func TestScenario13OutputBuffer(t *testing.T) {
	t.Parallel()
	log := newStandalone(t, "always")
	w := newSystem(t, "13: output buffer", log, plan{nodes: 2, rooms: 3})
	w.startClients(few)
	end := w.begin(w.publishers(200))
	w.awaitLive()
	connects, losses := w.counts.connects.Load(), w.feedLosses()
	for round := range 3 {
		log.say(w, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 2048 0 0")
		wait.Until(t, "Redis to cut a node off", func() bool { return w.feedLosses() > losses+round })
		log.say(w, "CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0")
		w.measureRecovery(w.nodes...)
	}
	end()
	w.checkNoReconnects(connects)
	w.conclude()
}

// feedLosses is the number of times that the nodes have lost their live feed.
func (w *system) feedLosses() (n int) {
	w.t.Helper()
	for _, node := range w.nodes {
		m, err := node.metrics()
		if err != nil {
			w.t.Fatal(err)
		}
		n += int(m["tidemark_feed_losses_total"])
	}
	return n
}

// Connected and returning clients are told which events Redis lost, with the reason reset,
// and of nothing else. Live delivery resumes by itself.
func TestScenario14RedisReturns(t *testing.T) {
	t.Parallel()
	again := func(s *standalone) {
		s.server.Kill()
		s.server.Restart()
	}
	t.Run("from its file", func(t *testing.T) {
		log := newStandalone(t, "always")
		w := newSystem(t, "14: Redis restarts from its file", log, plan{nodes: 2, rooms: 3})
		w.duringRedisFault(func() { again(log) })
		if n := w.counts.owed.Load(); n > 0 {
			t.Errorf("%d notices were owed, though nothing was lost", n)
		}
		w.conclude()
	})
	t.Run("empty", func(t *testing.T) {
		log := newStandalone(t, "never")
		w := newSystem(t, "14: Redis restarts empty", log, plan{nodes: 2, rooms: 3})
		w.duringRedisFault(func() {
			w.lose(true)
			again(log)
		})
		w.checkLossReported()
		w.conclude()
	})
	t.Run("from an old snapshot", func(t *testing.T) {
		log := newStandalone(t, "never")
		w := newSystem(t, "14: Redis restarts from an old snapshot", log, plan{nodes: 2, rooms: 3})
		w.duringRedisFault(func() {
			log.say(w, "SAVE")
			time.Sleep(500 * time.Millisecond) // publishes continue meanwhile
			w.lose(true)
			again(log)
		})
		w.checkLossReported()
		w.conclude()
	})
	t.Run("as a replica that lags", func(t *testing.T) {
		log := newSentinel(t, "logged")
		w := newSystem(t, "14: failover to a replica that lags", log, plan{nodes: 2, rooms: 3})
		w.duringRedisFault(func() { log.failOverToLagging(w) })
		w.checkLossReported()
		w.conclude()
	})
}

// duringRedisFault runs a fault of Redis while a few clients follow. No client may have to
// reconnect.
func (w *system) duringRedisFault(happens func()) {
	w.t.Helper()
	w.startClients(few)
	w.newClient("restless", behavior{over: overEither, start: "since=now", cutEvery: time.Second}, w.ordinary()[0])
	end := w.begin(w.publishers(200))
	w.awaitLive()
	time.Sleep(time.Second) // publishes continue meanwhile
	happens()
	w.measureRecovery(w.nodes...)
	end()
}

// checkLossReported fails the test unless the log has lost events and every client was told
// so in each of its rooms.
func (w *system) checkLossReported() {
	w.t.Helper()
	if w.counts.lost.Load() == 0 {
		w.t.Error("no acknowledged event was lost: this proves nothing")
	}
	for _, c := range w.allClients() {
		c.mu.Lock()
		for _, t := range c.tracks {
			if t.resets == 0 {
				w.t.Errorf("%s got no notice that %s has lost events", c.name, t.room.name)
			}
		}
		c.mu.Unlock()
	}
}

// A node that starts while Redis is down stays up, is not ready, and becomes ready by
// itself.
func TestScenario15StartsWithoutRedis(t *testing.T) {
	t.Parallel()
	log := newStandalone(t, "always")
	w := newSystem(t, "15: a node starts without Redis", log, plan{nodes: 2, rooms: 2})
	w.startClients(few)
	end := w.begin(w.publishers(50))
	w.awaitLive()
	log.server.Kill()
	late := w.addNode("late", w.flags)
	late.probe = w.newClient("probe-late", behavior{over: overSSE, start: "since=now", at: late.addr}, w.probes)
	w.newClient("steady-late", behavior{over: overWebSocket, start: "since=now", at: late.addr}, w.ordinary()[0])
	if late.ready() {
		t.Error("the node says that it is ready without Redis")
	}
	log.server.Restart()
	wait.Until(t, "the node to be ready", late.ready)
	w.measureRecovery(late)
	end()
	w.conclude()
}
