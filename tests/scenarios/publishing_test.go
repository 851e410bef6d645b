package scenarios_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/internal/cutproxy"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A publisher does not learn that its event was stored, because its connection breaks before
// the answer. It repeats on another node: one event, one id.
func TestScenario01AnswerLost(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log)
		c := followOn(t, w.nodes[1], over, "room")
		proxy := cutproxy.Listen(t, w.nodes[0].addr)
		lossy := w.publisher(proxy.Addr, over)
		sound := w.publisher(func() string { return w.nodes[1].addr }, over)
		ack := "HTTP/1.1 201"
		if !over.Streams() {
			ack = `"op":"published"`
		}
		for i := range 20 {
			data := fmt.Sprint("event ", i)
			cutDone := proxy.CutAfter(ack)
			if a, err := lossy("room", data, data); err == nil {
				t.Fatalf("the answer was to be lost, and is %+v", a)
			}
			<-cutDone
			a, err := sound("room", data, data)
			if must(t, a, err); !a.replayed {
				t.Errorf("event %d was stored anew: %+v", i, a)
			}
			w.truth.add(sent{"room", a.id, data})
		}
		if d := c.difference(w.truth.of("room"), asHeard(w.history(w.nodes[0].addr, "room"))); !d.OK() {
			t.Errorf("the log: %v", d)
		}
		c.awaitEvents(20)
		c.exactlyAll(w)
	})
}

// asHeard returns events as messages, to compare them with the published events.
func asHeard(events []sent) []follow.Message {
	all := make([]follow.Message, len(events))
	for i, s := range events {
		all[i] = follow.Message{Kind: "event", Room: s.room, ID: s.id, Text: s.data}
	}
	return all
}

// The script has run, and Redis's reply is lost: the connection is cut, or the answer does
// not come until the node gives up. The repeat returns the first id.
func TestScenario02ReplyLost(t *testing.T) {
	eachTransport(t, func(t *testing.T, over follow.Transport) {
		t.Run("cut", func(t *testing.T) {
			redis := redistest.Shared(t)
			proxy := cutproxy.Listen(t, redis.Addr())
			w := newSystem(t, onRedis, func(s *setup) { s.through = proxy.Addr() })
			// The script's reply for one stored event, up to its id: it raised no floor, and
			// the outcome is 0.
			const stored = "*3\r\n:0\r\n:0\r\n$"
			lose := func() func() {
				cutDone := proxy.CutAfter(stored)
				return func() { <-cutDone }
			}
			repeatLostReplies(t, w, over, lose)
		})
		t.Run("silence", func(t *testing.T) {
			redis := redistest.Shared(t)
			proxy := newMuteProxy(t, redis.Addr())
			w := newSystem(t, onRedis, func(s *setup) { s.through = proxy.addr(); s.timeout = 200 * time.Millisecond })
			repeatLostReplies(t, w, over, proxy.mute)
		})
	})
}

// repeatLostReplies publishes while lose drops Redis's replies, until the returned function
// is called, and then repeats.
func repeatLostReplies(t *testing.T, w *system, over follow.Transport, lose func() func()) {
	c := followOn(t, w.nodes[0], over, "room")
	publish := w.publisher(func() string { return w.nodes[0].addr }, over)
	a, err := publish("room", "first", "")
	w.truth.add(sent{"room", must(t, a, err).id, "first"})
	for i := range 5 {
		data := fmt.Sprint("event ", i)
		found := lose()
		a, err := publish("room", data, data)
		refused(t, a, err, "log-unavailable")
		stored := w.stored("room")
		found()
		if want := int64(i + 2); stored != want {
			t.Fatalf("Redis has %d events before the repeat, want %d: the reply was not what was lost", stored, want)
		}
		wait.Until(t, "the repeat is answered", func() bool {
			a, err = publish("room", data, data)
			return err == nil && a.id != ""
		})
		if !a.replayed {
			t.Errorf("event %d was stored anew: %+v", i, a)
		}
		w.truth.add(sent{"room", a.id, data})
	}
	c.awaitEvents(6)
	c.exactlyAll(w)
	if !c.connected() {
		t.Errorf("the follower was cut: %v", c.Record().Err)
	}
}

// admin returns a client of the system's Redis.
func (w *system) admin() *redis.Client {
	w.t.Helper()
	return w.setup.redis.Client()
}

// key returns a key of the log: s for a room's stream, t for its tail record, c for its
// channel.
func (w *system) key(kind, room string) string {
	return fmt.Sprintf("{%s:0}:%s:%s", w.prefix, kind, room)
}

// stored returns the number of events that Redis has of a room.
func (w *system) stored(room string) int64 {
	w.t.Helper()
	n, err := w.admin().XLen(context.Background(), w.key("s", room)).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// do runs a command in the system's Redis.
func (w *system) do(command ...any) {
	w.t.Helper()
	if err := w.admin().Do(context.Background(), command...).Err(); err != nil {
		w.t.Fatalf("%v: %v", command, err)
	}
}

// The ways in which Redis refuses to write to the room "room".
var refusals = map[string]struct{ begin, end func(w *system) }{
	"out of memory": {
		func(w *system) { w.do("config", "set", "maxmemory", "1") },
		func(w *system) { w.do("config", "set", "maxmemory", "0") },
	},
	"read only": {
		func(w *system) { w.do("replicaof", "127.0.0.1", "1") },
		func(w *system) { w.do("replicaof", "no", "one") },
	},
	"wrong type": {
		func(w *system) {
			w.do("rename", w.key("s", "room"), w.key("s", "room")+".aside")
			w.do("set", w.key("s", "room"), "foreign")
		},
		func(w *system) { w.do("rename", w.key("s", "room")+".aside", w.key("s", "room")) },
	},
}

// A key whose write failed can be used again.
func TestScenario03KeyOfAFailedWrite(t *testing.T) {
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, over follow.Transport) {
				w := newSystem(t, onRedis, func(s *setup) { s.redis = redistest.Start(t) })
				publish := w.publisher(func() string { return w.nodes[0].addr }, over)
				w.nodes[0].publish("room", "before")
				refusal.begin(w)
				for range 3 {
					a, err := publish("room", "event", "key")
					refused(t, a, err, "log-refused")
				}
				refusal.end(w)
				a, err := publish("room", "event", "key")
				if must(t, a, err); a.replayed {
					t.Errorf("the answer is that of an earlier try, which failed: %+v", a)
				}
				again, err := publish("room", "event", "key")
				if must(t, again, err); again.id != a.id || !again.replayed {
					t.Errorf("repeated: %+v, want the id %s", again, a.id)
				}
				if n := w.stored("room"); n != 2 {
					t.Errorf("%d events are stored, want 2", n)
				}
			})
		})
	}
}

// A key that was used with another body is refused on any node, and nothing is stored.
func TestScenario04KeyReused(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log)
		c := followOn(t, w.nodes[0], over, "room")
		var publish []publisher
		for _, n := range w.nodes {
			publish = append(publish, w.publisher(func() string { return n.addr }, over))
		}
		a, err := publish[0]("room", "one", "key")
		w.truth.add(sent{"room", must(t, a, err).id, "one"})
		for i := range 10 {
			a, err := publish[i%2]("room", fmt.Sprint("two ", i), "key")
			refused(t, a, err, "key-reused")
			if over.Streams() && a.status != 422 {
				t.Errorf("status %d, want 422", a.status)
			}
		}
		w.nodes[1].publish("room", "last")
		c.awaitEvents(2)
		c.exactlyAll(w)
		if d := c.difference(w.truth.of("room"), asHeard(w.history(w.nodes[0].addr, "room"))); !d.OK() {
			t.Errorf("the log: %v", d)
		}
	})
}

// An event that Redis refuses is an error for its publisher. It is never delivered or
// replayed. The followers' connections stay and go on.
func TestScenario05RedisRefuses(t *testing.T) {
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, over follow.Transport) {
				w := newSystem(t, onRedis, func(s *setup) { s.redis = redistest.Start(t) })
				var clients []*client
				for _, n := range w.nodes {
					clients = append(clients, followOn(t, n, over, "room"))
				}
				w.nodes[0].publishMany("room", 0, 10)
				refusal.begin(w)
				for i := range 10 {
					publish := w.publisher(func() string { return w.nodes[i%2].addr }, over)
					a, err := publish("room", "refused", fmt.Sprint("key ", i))
					refused(t, a, err, "log-refused")
					if over.Streams() && a.status != 503 {
						t.Errorf("status %d, want 503", a.status)
					}
				}
				refusal.end(w)
				w.nodes[1].publishMany("room", 10, 20)
				late := newClient(t, over, "room").from("earliest")
				late.connect(w.nodes[0].at)
				for _, c := range append(clients, late) {
					c.awaitEvents(20)
					c.exactlyAll(w)
					if !c.connected() {
						t.Errorf("a follower was cut: %v", c.Record().Err)
					}
				}
			})
		})
	}
}

// In a batch in which some events fail, each event has its own result. Repeating the failed
// ones completes the batch.
func TestScenario08BatchFailsInPart(t *testing.T) {
	eachLog(t, func(t *testing.T, log string) {
		w := newSystem(t, log)
		n := w.nodes[0]
		c := newClient(t, follow.SSE, "good", "bad")
		c.connect(w.nodes[1].at)
		first := n.batch(`{"events":[{"room":"good","data":"used","key":"used"}]}`)
		w.truth.add(sent{"good", first[0].ID, "used"})
		bad, failure := `{"room":"no/room","data":"b%d","key":"kb%d"}`, "room-invalid"
		if log == onRedis {
			w.do("set", w.key("s", "bad"), "foreign")
			bad, failure = `{"room":"bad","data":"b%d","key":"kb%d"}`, "log-refused"
		}
		var events []string
		for i := range 10 {
			events = append(events, fmt.Sprintf(`{"room":"good","data":"g%d","key":"kg%d"}`, i, i), fmt.Sprintf(bad, i, i))
		}
		events = append(events, `{"room":"good","data":"other","key":"used"}`)
		var failed []string
		for i, r := range n.batch(`{"events":[` + strings.Join(events, ",") + `]}`) {
			switch {
			case i == 20:
				if r.Error.Code != "key-reused" {
					t.Errorf("the reused key: %+v", r)
				}
			case i%2 == 0:
				if r.ID == "" {
					t.Errorf("event %d: %+v", i, r)
				}
				w.truth.add(sent{"good", r.ID, fmt.Sprint("g", i/2)})
			case r.Error.Code != failure:
				t.Errorf("event %d: %+v, want %s", i, r, failure)
			default:
				failed = append(failed, strings.ReplaceAll(events[i], "no/room", "bad"))
			}
		}
		if log == onRedis {
			w.do("del", w.key("s", "bad"))
		}
		for i, r := range n.batch(`{"events":[` + strings.Join(failed, ",") + `]}`) {
			if r.ID == "" || r.Replayed {
				t.Errorf("repeated event %d: %+v", i, r)
			}
			w.truth.add(sent{"bad", r.ID, fmt.Sprint("b", i)})
		}
		for i, r := range n.batch(`{"events":[` + strings.Join(append(events[:1:1], failed...), ",") + `]}`) {
			if r.ID == "" || !r.Replayed {
				t.Errorf("repeated again, event %d: %+v", i, r)
			}
		}
		c.awaitEvents(21)
		c.exactlyAll(w)
	})
}

// Redis has forgotten the script: publishers do not notice.
func TestScenario10ScriptForgotten(t *testing.T) {
	eachTransport(t, func(t *testing.T, over follow.Transport) {
		server := redistest.StartProcess(t, "--appendonly", "yes", "--appendfsync", "always")
		w := newSystem(t, onRedis, func(s *setup) { s.redis = server })
		c := followOn(t, w.nodes[1], over, "room")
		publish := w.publisher(func() string { return w.nodes[0].addr }, over)
		store := func(data string) {
			t.Helper()
			a, err := publish("room", data, "")
			w.truth.add(sent{"room", must(t, a, err).id, data})
		}
		store("before")
		for i := range 10 {
			w.do("script", "flush")
			store(fmt.Sprint("flushed ", i))
		}
		server.Kill()
		server.Restart()
		store("restarted")
		// Many publishers find at the same time that the script is missing.
		w.do("script", "flush")
		var publishers sync.WaitGroup
		for i := range 20 {
			publishers.Go(func() {
				data := fmt.Sprint("together ", i)
				a, err := w.try(w.nodes[i%2].addr, "room", data, "")
				if err != nil || a.status != 201 {
					t.Errorf("publish: %+v %v", a, err)
				}
				w.truth.add(sent{"room", a.id, data})
			})
		}
		publishers.Wait()
		c.awaitEvents(32)
		c.exactlyAll(w)
	})
}
