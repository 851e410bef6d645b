package scenarios_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

const (
	// stormConnects is the number of connects with a cursor in the storm, over the whole
	// matrix, and stormLimit the time limit of each of its four parts. A busy machine makes
	// fewer.
	stormConnects = 10_000
	stormLimit    = 40 * time.Second
)

// Clients connect with a cursor during a storm of publishes, again and again. At the
// hand-over from the log to the live feed no event is missing, repeated or out of order. The
// cursors lie before and within the hot tail.
func TestScenario22StormOfConnects(t *testing.T) {
	var connects atomic.Int64
	t.Cleanup(func() { t.Logf("%d connects with a cursor", connects.Load()) })
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.keep.Events = 10_000_000
			s.node.Hot = 30
			s.node.Linger, s.node.CheckEvery = time.Nanosecond, 20*time.Millisecond
		})
		rooms := []string{"one", "two"}
		recent := &ring{}
		for _, room := range rooms {
			w.nodes[0].fill(room, 0, 100, 0)
			for _, s := range w.truth.of(room) {
				recent.add(s)
			}
		}
		done := make(chan struct{})
		var publishing sync.WaitGroup
		for i := range 3 {
			publishing.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-done:
						return
					default:
						recent.add(w.nodes[k%2].publish(rooms[(i+k)%2], fmt.Sprintf("%d of %d", k, i)))
					}
				}
			})
		}
		deadline := time.Now().Add(stormLimit)
		var connects atomic.Int64
		var storm sync.WaitGroup
		clients := make([][]*client, 12)
		for i := range clients {
			storm.Go(func() {
				for k := 0; connects.Add(1) <= stormConnects/4 && time.Now().Before(deadline) && !t.Failed(); k++ {
					start := recent.pick()
					c := newClient(t, over, start.room)
					c.from(start.id)
					if err := c.tryConnect(w.nodes[(i+k)%2].at); err != nil {
						t.Errorf("connect: %v", err)
						return
					}
					heardLive := 1 + k%3 // events after the hand-over
					if !c.wait(func(all []follow.Message) bool { return liveEvents(all) >= heardLive }) {
						t.Errorf("%v after %s: no live event: %v", over, start.id, c.Record().Err)
					}
					c.cut()
					clients[i] = append(clients[i], c)
				}
			})
		}
		storm.Wait()
		close(done)
		publishing.Wait()
		truth := map[string][]sent{rooms[0]: w.truth.of(rooms[0]), rooms[1]: w.truth.of(rooms[1])}
		for _, some := range clients {
			connects.Add(int64(len(some)))
			for _, c := range some {
				c.span(truth[c.rooms[0]])
			}
		}
	})
}

// liveEvents returns how many events came after the replay.
func liveEvents(all []follow.Message) int {
	n := 0
	for i := len(all) - 1; i >= 0 && all[i].Kind != follow.Live; i-- {
		if all[i].Kind == follow.Opened {
			return 0
		}
		if all[i].Kind == follow.Event {
			n++
		}
	}
	return n
}

// A ring holds the newest published events.
type ring struct {
	mu     sync.Mutex // guards the fields below
	events [300]sent
	n      int
}

func (r *ring) add(s sent) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events[r.n%len(r.events)] = s
	r.n++
}

// pick returns one of them at random.
func (r *ring) pick() sent {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[rand.N(min(r.n, len(r.events)))]
}

// A long backlog, fast live traffic and a slow reader at the same time. The reader reads two
// events for each that is published. It lags until publishing ends, and then catches up.
func TestScenario23BacklogAndSlowReader(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		const backlog, live, size = 2000, 1000, 512
		w := newSystem(t, log, func(s *setup) {
			s.keep.Events = 100_000
			s.sendBuffer = smallSocket
			s.node.Queue, s.node.Hot = 32, 100
		})
		w.nodes[0].fill("room", 0, backlog, size)
		slow := newClient(t, over, "room").from("earliest")
		slow.receiveBuffer = smallSocket
		slow.connect(w.nodes[0].at)
		for i := 0; i < live; i += 10 {
			slow.pause()
			w.nodes[1].fill("room", backlog+i, backlog+i+10, size)
			w.nodes[0].publish("room", fmt.Sprint("between ", i))
			slow.resume()
			slow.awaitEvents(min(2*i, backlog))
		}
		slow.awaitEvents(backlog + live + live/10)
		slow.exactlyAll(w)
		slow.stayed()
	})
}

// The connection breaks in the middle of the replay, at any byte. The next one resumes there
// on the other node.
func TestScenario24DropInTheReplay(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.node.Hot = 100; s.keep.Events = 2000 })
		size, least := 0, 1000
		if over == follow.H2C || over == follow.H2 {
			size, least = 1000, 20_000 // a client uses a frame of 16 KiB completely or not at all
		}
		w.nodes[0].fill("room", 0, 1000, size)
		for range 5 {
			c := newClient(t, over, "room").from("earliest")
			drops := -1 // the last connection is not cut
			for done := false; !done; drops++ {
				c.budget = least + rand.N(5*least)
				from := c.len()
				if c.tryConnect(w.nodes[drops&1].at) == nil {
					done = c.wait(func(all []follow.Message) bool {
						return slices.ContainsFunc(all[from:], func(h follow.Message) bool { return h.Kind == follow.Live })
					})
				}
				c.cut()
			}
			if drops < 10 {
				t.Errorf("only %d drops", drops)
			}
			c.exactlyAll(w)
		}
	})
}

// A client that has received no event still has a position: events published after its
// disconnect are delivered when it returns.
func TestScenario25NothingReceived(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log)
		w.nodes[0].publishMany("old", 0, 10)
		for _, room := range []string{"never", "old"} {
			for i := range 10 {
				c := followOn(t, w.nodes[i%2], over, room)
				c.cut()
				first := c.all()[0]
				if first.Kind != follow.Opened || first.Cursor == "" {
					t.Fatalf("the first message is %+v, want a cursor", first)
				}
				c.from(first.Cursor) // as if the connection had been cut right there
				s := w.nodes[0].publish(room, fmt.Sprint("while away ", i))
				c.connect(w.nodes[(i+1)%2].at)
				c.awaitEvent(s)
				c.awaitLive()
				c.exactly([]sent{s})
			}
		}
	})
}

// A cursor works on another node, over the other transport, after a restart of all nodes,
// and after a restart of Redis.
func TestScenario26ResumeAnywhere(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			if log == onRedis {
				s.redis = redistest.StartProcess(t, "--appendonly", "yes", "--appendfsync", "always")
			}
		})
		moves := []func(){
			func() {}, // to the other node
			w.restart,
			func() {
				if log == onRedis {
					w.setup.redis.Kill()
					w.setup.redis.Restart()
				}
			},
			func() {
				w.close()
				if log == onRedis {
					w.setup.redis.Kill()
					w.setup.redis.Restart()
				}
				w.start()
			},
		}
		c := newClient(t, over, "room").from("earliest")
		n := 0
		for round := range 8 {
			w.nodes[round%2].publishMany("room", n, n+40)
			n += 40
			// Read a part, cut within a block or frame; the next part begins with the rest.
			c.budget = 1500
			if c.tryConnect(w.nodes[(round+1)%2].at) == nil {
				c.awaitEnd()
			}
			moves[round%len(moves)]()
			c.budget = 1200
			if c.tryConnect(w.nodes[round%2].at) == nil {
				c.awaitEnd()
			}
			c = c.switchTransport()
		}
		c.connect(w.nodes[1].at)
		c.awaitEvents(n)
		c.exactlyAll(w)
	})
}

// switchTransport returns a client that continues over the other transport.
func (c *client) switchTransport() *client {
	c.cut()
	next := newClient(c.t, otherTransport(c.over), c.rooms...).from(c.at())
	next.Continue(c.Record())
	return next
}

// A room of 1,000 events, resumed from the middle on the other node: exactly the
// second half.
func TestSecondHalf(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log)
		first := newClient(t, over, "room").from("earliest")
		first.connect(w.nodes[0].at)
		w.nodes[0].publishMany("room", 0, 500)
		first.awaitEvents(500)
		first.cut()
		w.nodes[0].fill("room", 500, 1000, 0)
		all := w.truth.of("room")
		second := newClient(t, over, "room").from(first.at())
		second.connect(w.nodes[1].at)
		second.awaitLive()
		first.exactly(all[:500])
		second.exactly(all[500:])
	})
}

// replayFrom returns the messages of a replay after a cursor, without positions.
func replayFrom(t *testing.T, n *node, over follow.Transport, room, cursor string) []follow.Message {
	t.Helper()
	c := newClient(t, over, room).from(cursor)
	c.connect(n.at)
	c.awaitLive()
	c.cut()
	var items []follow.Message
	for _, h := range c.all() {
		if h.Kind == follow.Live {
			break
		}
		if h.Kind == follow.Event || h.Kind == follow.Gap || h.Kind == follow.Error {
			items = append(items, h)
		}
	}
	return items
}

// complete fails the test unless a replay is exactly want, without a gap notice.
func complete(t *testing.T, what string, got []follow.Message, want []sent) {
	t.Helper()
	c := &client{t: t}
	if d := c.difference(want, got); !d.OK() || len(gaps(got)) > 0 {
		t.Errorf("%s: %v; notices %+v", what, d, gaps(got))
	}
}

// gapThen fails the test unless a replay is one gap notice and then want.
func gapThen(t *testing.T, what string, got []follow.Message, reason string, want []sent) {
	t.Helper()
	c := &client{t: t}
	if d := c.difference(want, got); !d.OK() || len(gaps(got)) != 1 || got[0].Kind != follow.Gap || got[0].Reason != reason {
		t.Errorf("%s: %v; notices %+v; want one first, %s", what, d, gaps(got), reason)
	}
}

// A cursor at each edge of the kept events gets either all later events or an exact gap
// notice.
func TestScenario27Edges(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.rules = []service.RetentionRule{
				{Pattern: "trimmed", Retention: streams.Retention{Events: 20, Age: time.Hour}},
				{Pattern: "expired", Retention: streams.Retention{Events: 1000, Age: 300 * time.Millisecond}},
			}
		})
		w.nodes[0].fill("trimmed", 0, 400, 0)
		w.nodes[0].publishMany("expired", 0, 10)
		expired := w.truth.of("expired")
		trimmed := w.truth.of("trimmed")
		kept := w.history(w.nodes[0].addr, "trimmed")
		if len(kept) < 20 || len(kept) > 20+streams.ExtraKept {
			t.Fatalf("%d events are kept", len(kept))
		}
		first := len(trimmed) - len(kept) // the first kept event
		for i, n := range w.nodes {
			replayed := func(cursor string) []follow.Message { return replayFrom(t, n, over, "trimmed", cursor) }
			// First on a node that does not know the room yet, then on one with a hot tail.
			for range 2 {
				got := replayed(trimmed[first-2].id)
				gapThen(t, "one before the last trimmed", got, "trimmed", kept)
				if g := got[0]; g.After != trimmed[first-2].id || g.Before != kept[0].id {
					t.Errorf("the notice is %+v, want after %s before %s", g, trimmed[first-2].id, kept[0].id)
				}
				complete(t, "the last trimmed", replayed(trimmed[first-1].id), kept)
				complete(t, "the first kept", replayed(kept[0].id), kept[1:])
				complete(t, "the newest", replayed(kept[len(kept)-1].id), nil)
				complete(t, "the last but one", replayed(kept[len(kept)-2].id), kept[len(kept)-1:])
				gapThen(t, "the very first", replayed(trimmed[0].id), "trimmed", kept)
				complete(t, "earliest", replayed("earliest"), kept)
			}
			wait.Until(t, "the events have expired", func() bool { return len(w.history(n.addr, "expired")) == 0 })
			for range 2 {
				complete(t, "the newest of an expired room", replayFrom(t, n, over, "expired", expired[9].id), nil)
				gapThen(t, "older than that", replayFrom(t, n, over, "expired", expired[8].id), "expired", nil)
			}
			// The next event proves that no other came in between.
			if i == 0 {
				continue
			}
			back := newClient(t, over, "expired").from(expired[9].id)
			back.connect(n.at)
			back.awaitEvent(w.nodes[0].publish("expired", "next"))
			back.exactly(after(w.truth.of("expired"), expired[9].id))
		}
	})
}

// Cursors that no server sent, or that belong to something else.
func TestScenario28OddCursors(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			if log == onRedis {
				s.redis = redistest.Start(t)
			}
		})
		n := w.nodes[0]
		n.publishMany("other", 0, 5)
		n.publishMany("room", 0, 10)
		n.publishMany("other", 5, 10)
		n.publishMany("room", 10, 20)
		all, others := w.truth.of("room"), w.truth.of("other")
		replayed := func(cursor string) []follow.Message { return replayFrom(t, n, over, "room", cursor) }
		future := streams.IDAt(time.Now().Add(time.Hour), 0).String()

		// A cursor that cannot be parsed gets a notice and then all kept events.
		for name, cursor := range map[string]string{
			"malformed":                "not-a-cursor",
			"not quite a ULID":         strings.Repeat("Z", 26),
			"a partition that is none": streams.MakeID(1, 1, 7).String(),
			"half a cursor":            all[3].id[:13],
			"two that are one":         all[3].id + "." + all[4].id,
			"a dot too many":           all[3].id + ".",
			"very long":                strings.Repeat("0", 10_000),
			"other characters":         "../../etc/passwd%00",
		} {
			gapThen(t, name, replayed(cursor), "unknown", all)
		}
		complete(t, "of another room, before", replayed(others[4].id), all)
		complete(t, "of another room, between", replayed(others[9].id), all[10:])
		complete(t, "in lower case", replayed(strings.ToLower(all[4].id)), all[5:])
		complete(t, "before everything", replayed(strings.Repeat("0", 26)), all)
		complete(t, "none", replayed(""), nil)
		complete(t, "a room that never was", replayFrom(t, n, over, "never", all[4].id), nil)
		complete(t, "a room that never was, none", replayFrom(t, n, over, "void", ""), nil)

		// A cursor in the future: the log has never held it, so the missed events are
		// unknown. Later events are delivered.
		gapThen(t, "the future", replayed(future), "reset", nil)
		ahead := newClient(t, over, "room").from(future)
		ahead.connect(n.at)
		ahead.awaitLive()
		ahead.awaitEvent(w.nodes[1].publish("room", "after the future"))

		w.refuseHuge(n, over)

		if log != onRedis {
			return // a test cannot flush an embedded log under a node
		}
		open := followOn(t, n, over, "room")
		lost := w.truth.of("room")
		w.setup.redis.Flush()
		early := newClient(t, over, "room").from(all[4].id)
		early.connect(n.at) // the node may still answer from memory, and reports the loss later
		for _, c := range []*client{open, early} {
			c.await("a notice", func(all []follow.Message) bool { return len(gaps(all)) > 0 })
			if g := gaps(c.all())[0]; g.Reason != "reset" {
				t.Errorf("the notice is %+v, want the reason reset", g)
			}
		}
		early.toldAll(after(lost, all[4].id))
		gapThen(t, "from before a flush", replayed(all[4].id), "reset", nil)
		w.nodes[1].publishMany("room", 20, 25)
		new := after(w.truth.of("room"), lost[len(lost)-1].id)
		gapThen(t, "from before a flush, with events since", replayed(all[4].id), "reset", new)
		complete(t, "from after a flush", replayed(new[1].id), new[2:])
	})
}

// refuseHuge fails the test unless the node refuses a cursor of a megabyte once and goes on.
func (w *system) refuseHuge(n *node, over follow.Transport) {
	w.t.Helper()
	huge := strings.Repeat("0", 1<<20)
	c := newClient(w.t, over, "room").from(huge)
	err := c.tryConnect(n.at)
	switch {
	case over.Streams():
		// A part of it is still on its way when the node answers and closes the connection.
		if err == nil {
			w.t.Error("a header of a megabyte was taken")
		}
		status, body, err := w.get("http://"+n.addr+"/v1/rooms/room/events", "Last-Event-ID", huge[:100_000])
		if err != nil || status != 431 || !strings.Contains(string(body), "header-too-large") {
			w.t.Errorf("a header of 100 kB: %d %.200s %v", status, body, err)
		}
	default:
		if err == nil {
			c.awaitEnd()
		}
		tooBig := func(m follow.Message) bool { return m.Kind == follow.Closed && m.Code == "1009" }
		if got := slices.DeleteFunc(c.all(), tooBig); len(got) > 0 {
			w.t.Errorf("a message of a megabyte was answered: %+v", got)
		}
	}
}

// Between two connections a client lists its rooms in another order, or adds or removes one:
// the cursor keeps its meaning. The client uses SSE, where one cursor covers all rooms. Over
// WebSocket each room has its own cursor, and may also get the combined one.
func TestScenario29OtherRooms(t *testing.T) {
	run := func(t *testing.T, log string, partitions, hot int) {
		w := newSystem(t, log, func(s *setup) {
			s.partitions = partitions
			s.node.Hot = hot
		})
		rooms := []string{"a", "b", "c", "d", "e", "f"}
		k := 0
		some := func() {
			for range 60 {
				w.nodes[k%2].publish(rooms[rand.N(len(rooms))], fmt.Sprint("event ", k))
				k++
			}
		}
		some()
		follows := func(c *client, names ...string) *client {
			next := newClient(t, follow.SSE, names...).from(c.at())
			next.wide = partitions > 1
			next.connect(w.nodes[k%2].at)
			next.awaitLive()
			next.cut()
			return next
		}
		start := newClient(t, follow.SSE, "a").from("earliest")
		one := follows(start, "a", "b", "c", "d")
		some()
		other := follows(one, "d", "b", "a", "c")                    // another order
		some()                                                       //
		fewer := follows(other, "c", "a")                            // two removed
		more := follows(other, "d", "f", "b", "a", "c", "e")         // two added
		socket := newClient(t, follow.WebSocket, "a", "b", "c", "d") // the combined cursor
		socket.from(other.at())
		socket.connect(w.nodes[0].at)
		socket.awaitLive()

		for _, room := range []string{"a", "b", "c", "d"} {
			all := w.truth.of(room)
			first := len(only(one.all(), room)) // only events belong to a room
			second := first + len(only(other.all(), room))
			one.exactlyIn(all[:first], only(one.all(), room))
			other.exactlyIn(all[first:second], only(other.all(), room))
			more.exactlyIn(all[second:], only(more.all(), room))
			socket.exactlyIn(all[second:], eventsOf(socket.all(), room))
			if room == "a" || room == "c" {
				fewer.exactlyIn(all[second:], only(fewer.all(), room))
			}
		}
		// An added room starts at the cursor's position in its partition. If the cursor has
		// none for that partition, it starts earlier.
		cursor, err := replay.ParseCursor(other.at())
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range []string{"e", "f"} {
			p := streams.Room(room).Partition(partitions)
			more.exactlyIn(after(w.truth.of(room), cursor.Position(p).String()), only(more.all(), room))
		}
	}
	for name, hot := range map[string]int{"from memory": 1000, "from the log": 2} {
		t.Run(name, func(t *testing.T) {
			eachLog(t, func(t *testing.T, log string) { run(t, log, 1, hot) })
			t.Run("redis with 4 partitions", func(t *testing.T) { t.Parallel(); run(t, onRedis, 4, hot) })
		})
	}
}

// eventsOf returns the events of a room.
func eventsOf(all []follow.Message, room string) []follow.Message {
	return slices.DeleteFunc(only(all, room), func(h follow.Message) bool { return h.Kind != follow.Event })
}

// One of several rooms on a connection has a hole that is being repaired. The client
// receives nothing later before the repair, the cursor stays behind the unsent events, and a
// client that is cut then misses nothing.
func TestScenario30HoleBeingRepaired(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.faulty = true
			s.node.CheckEvery = time.Hour // the next event reveals the hole, not the check
			s.api.KeepAlive = 5 * time.Millisecond
		})
		faults := w.nodes[0].faults
		stays, control := newClient(t, over, "a", "b"), newClient(t, over, "a", "b")
		stays.connect(w.nodes[0].at)
		control.connect(w.nodes[1].at)
		leaves := newClient(t, over, "a", "b")
		for round := range 10 {
			leaves.connect(w.nodes[0].at)
			w.nodes[1].publish("a", fmt.Sprint(round, " a"))
			stays.awaitEvent(w.nodes[1].publish("b", fmt.Sprint(round, " b")))
			faults.loseWhere(func(e *streams.Event) bool { return strings.Contains(string(e.Data), "lost") })
			release := faults.holdReads()
			reads := faults.reads.Load()
			w.nodes[1].publish("a", fmt.Sprint(round, " lost 1"))
			w.nodes[1].publish("a", fmt.Sprint(round, " lost 2"))
			w.nodes[1].publish("a", fmt.Sprint(round, " shows it"))
			for i := range 5 {
				w.nodes[1].publish("b", fmt.Sprint(round, " b meanwhile ", i))
			}
			wait.Until(t, "the repair begins", func() bool { return faults.reads.Load() > reads })
			// Positions continue while the repair waits.
			said := stays.len()
			stays.await("three positions", func(all []follow.Message) bool { return len(all) >= said+3 })
			leaves.cut()
			faults.loseWhere(nil)
			release()
			last := w.truth.of("a", "b")
			for _, c := range []*client{stays, control} {
				c.awaitEvent(last[len(last)-1])
			}
			leaves.connect(w.nodes[round%2].at)
			leaves.awaitLive()
			leaves.cut()
		}
		for _, c := range []*client{stays, control, leaves} {
			if c == leaves {
				c.exactlyAll(w)
				continue
			}
			c.exactlyAll(w)
			c.stayed()
			c.neverPassed(w.truth.of(c.rooms...))
		}
	})
}

// neverPassed fails the test if the cursor was ever at or after an event that was neither
// received nor excused.
func (c *client) neverPassed(truth []sent) {
	c.t.Helper()
	all := c.all()
	due := make(map[string][]sent) // not yet received, by room
	for _, room := range c.rooms {
		for _, s := range unexcused(truth, all) {
			if s.room == room {
				due[room] = append(due[room], s)
			}
		}
	}
	cursors := make(map[string]string)
	for _, h := range all {
		if h.Kind == follow.Event && len(due[h.Room]) > 0 && due[h.Room][0].id == h.ID {
			due[h.Room] = due[h.Room][1:]
		}
		for _, room := range c.rooms {
			if h.Cursor != "" && (c.over.Streams() || h.Room == room || h.Kind == follow.Position) {
				cursors[room] = h.Cursor
			}
			if len(due[room]) > 0 && due[room][0].id <= cursors[room] {
				c.t.Errorf("%v: with %+v the cursor has passed %+v", c.over, h, due[room][0])
				return
			}
		}
	}
}

// Messages of one room are lost, and the node notices only after a connection of several
// rooms has received later events of the others. Over SSE, where one cursor covers all
// rooms, the client receives a gap notice for the loss. Over WebSocket, where each room has
// its own cursor, it receives the events.
func TestScenario30FoundLate(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.faulty = true; s.node.CheckEvery = time.Hour })
		c := followOn(t, w.nodes[0], over, "a", "b")
		w.nodes[1].publish("a", "first")
		w.nodes[0].faults.loseWhere(func(e *streams.Event) bool { return string(e.Data) == `"lost"` })
		lost := w.nodes[1].publish("a", "lost")
		c.awaitEvent(w.nodes[1].publish("b", "later"))
		c.awaitEvent(w.nodes[1].publish("a", "shows it"))
		c.stayed()
		if over == follow.WebSocket {
			c.exactlyAll(w)
			return
		}
		c.toldAll(w.truth.of("a", "b"))
		notices := gaps(c.all())
		if len(notices) != 1 || notices[0].Reason != "unknown" || notices[0].Room != "a" ||
			notices[0].After >= lost.id || notices[0].Before <= lost.id {
			t.Errorf("notices %+v, want one that covers %s", notices, lost.id)
		}
	})
}

// Two thousand clients of one room return at once, to a node that has not served the room
// before. The node reads the log about once, and clients that do not read delay no other.
func TestScenario31AllComeBack(t *testing.T) {
	const clients = 2000
	eachLog(t, func(t *testing.T, log string) {
		w := newSystem(t, log, func(s *setup) {
			s.faulty = true
			s.sendBuffer = smallSocket
			s.api.KeepAlive = time.Minute
			s.node.CheckEvery = time.Minute
		})
		w.nodes[0].fill("room", 0, 600, 200)
		all := w.truth.of("room")
		n := w.nodes[1]
		// One client does not read, and has more to read than the sockets hold.
		stalled := newClient(t, follow.SSE, "big").from("earliest")
		w.nodes[0].fill("big", 0, 500, 4<<10)
		stalled.receiveBuffer = smallSocket
		stalled.connect(n.at)
		stalled.pause()
		reads := n.faults.reads.Load()

		var running sync.WaitGroup
		start := make(chan struct{})
		back := make([]*client, clients)
		for i := range back {
			c := newClient(t, follow.Transport(i%2), "room").from(all[len(all)-1-i%50].id)
			back[i] = c
			running.Go(func() {
				<-start
				if err := c.tryConnect(n.at); err != nil {
					t.Errorf("connect: %v", err)
					return
				}
				if !c.wait(c.liveIn) {
					t.Errorf("no replay: %v", c.Record().Err)
				}
			})
		}
		close(start)
		running.Wait()
		reads = n.faults.reads.Load() - reads
		t.Logf("%d clients came back over %d reads of the log", clients, reads)
		if reads > 10 {
			t.Errorf("the log was read %d times for %d clients of one room", reads, clients)
		}
		next := w.nodes[0].publish("room", "next")
		want := w.truth.of("room")
		for i, c := range back {
			c.awaitEvent(next)
			c.exactly(want[len(all)-i%50:])
			c.cut()
		}
		stalled.resume()
		stalled.awaitEvents(500)
		stalled.exactlyAll(w)
	})
}

// A client's old connection is still half open when the new one comes with the same cursor:
// both receive the right events.
func TestScenario32OldAndNew(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log)
		old := newClient(t, over, "room").from("earliest")
		old.connect(w.nodes[0].at)
		w.nodes[0].publishMany("room", 0, 100)
		old.awaitEvents(100)
		old.pause()
		for i := range 10 {
			w.nodes[1].publishMany("room", 100+10*i, 110+10*i)
			new := newClient(t, follow.Transport((int(over)+i)%2), "room").from(old.at())
			new.connect(w.nodes[i%2].at)
			s := w.nodes[0].publish("room", fmt.Sprint("both ", i))
			new.awaitEvent(s)
			new.exactly(after(w.truth.of("room"), old.at()))
		}
		old.resume()
		old.awaitEvents(210)
		old.exactlyAll(w)
		old.stayed()
	})
}
