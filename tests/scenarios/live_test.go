package scenarios_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

// The nodes' live side is killed again and again while clients stay connected and publishing
// continues. Every event arrives, in order, on the connections that were open throughout. On
// Redis CLIENT KILL does it; the embedded log has no connection to kill, so the test breaks
// its feed.
func TestScenario11FeedKilled(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.faulty = true
			if log == onRedis {
				s.redis = redistest.Start(t)
			}
		})
		var clients []*client
		for i := range 6 {
			c := newClient(t, over, "room")
			if i%3 == 2 {
				c = newClient(t, over, "room", "other")
			}
			c.connect(w.nodes[i%2].at)
			clients = append(clients, c)
		}
		kill := func() int64 { // number of connections to kill
			for _, n := range w.nodes {
				n.faults.breakFeeds()
			}
			return int64(len(w.nodes))
		}
		if log == onRedis {
			admin := w.admin()
			kill = func() int64 {
				n, err := admin.ClientKillByFilter(context.Background(), "TYPE", "pubsub").Result()
				if err != nil {
					t.Error(err)
				}
				return n
			}
		}
		const kills = 15
		done := make(chan struct{})
		var publishing sync.WaitGroup
		for i, n := range w.nodes {
			publishing.Go(func() {
				for k := 0; ; k++ {
					n.publish([]string{"room", "room", "other"}[k%3], fmt.Sprintf("%d from %d", k, i))
					select {
					case <-done:
						return
					default:
					}
				}
			})
		}
		for k := range kills {
			published := len(w.truth.of("room"))
			wait.Until(t, "more publishes", func() bool { return len(w.truth.of("room")) > published+5*(k%3) })
			wait.Until(t, "there are feeds to be killed", func() bool { return kill() > 0 })
		}
		close(done)
		publishing.Wait()
		for _, c := range clients {
			c.awaitEvents(len(w.truth.of(c.rooms...)))
			c.exactlyAll(w)
			c.stayed()
		}
	})
}

// stayed fails the test unless the first connection still stands.
func (c *client) stayed() {
	c.t.Helper()
	opens := 0
	for _, h := range c.all() {
		if h.Kind == follow.Opened {
			opens++
		}
	}
	if !c.connected() || opens != c.opens() {
		c.t.Errorf("%v: the connection was cut: %v", c.over, c.Record().Err)
	}
}

// The last messages of a burst are lost, and then the room is silent. The tail check finds
// them although nothing else is published. It needs two looks to be sure, and the repair one
// more, so the events must arrive within two periods.
func TestScenario12LostThenSilence(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.faulty, s.node.CheckEvery = true, 500*time.Millisecond })
		deaf, whole := followOn(t, w.nodes[0], over, "room"), followOn(t, w.nodes[1], over, "room")
		faults := w.nodes[0].faults
		want := 0
		for round := range 3 {
			lost := 3 * round // all of them in the first round
			faults.loseWhere(func(e *streams.Event) bool {
				return strings.HasSuffix(string(e.Data), `lost"`) // the data is a JSON string
			})
			for i := range 5 {
				if i < lost {
					w.nodes[1].publish("room", fmt.Sprintf("%d %d", round, i))
				} else {
					w.nodes[1].publish("room", fmt.Sprintf("%d %d lost", round, i))
				}
				want++
			}
			whole.awaitEvents(want)
			looks := faults.looks.Load()
			deaf.awaitEvents(want)
			if n := faults.looks.Load() - looks; n > 3 {
				t.Errorf("round %d: it took %d looks at the log to find what was lost, want at most 3", round, n)
			}
		}
		for _, c := range []*client{deaf, whole} {
			c.exactlyAll(w)
			c.stayed()
		}
	})
}

// A node publishes at its first moment: clients on the other nodes receive the event, and so
// does its own first client.
func TestScenario16FirstMoment(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.nodes = 1 })
		old := followOn(t, w.nodes[0], over, "room")
		for i := range 10 {
			fresh := w.startNode(fmt.Sprint("fresh ", i))
			w.nodes = append(w.nodes, fresh)
			own := newClient(t, over, "room")
			var both sync.WaitGroup
			both.Go(func() {
				for k := range 5 {
					fresh.publish("room", fmt.Sprint(i, " ", k))
				}
			})
			own.connect(fresh.at)
			both.Wait()
			last := fresh.publish("room", fmt.Sprint(i, " last"))
			own.awaitEvent(last)
			own.span(w.truth.of("room"))
		}
		old.awaitEvents(60)
		old.exactlyAll(w)
	})
}

// A hundred clients join, leave and publish in one room at the same time, which the nodes
// also leave as soon as it is empty. No client misses or repeats an event published while it
// was there, and in the end each node has one subscription.
func TestScenario17JoinLeavePublish(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.node.Linger, s.node.CheckEvery = time.Nanosecond, 10*time.Millisecond
		})
		var clients [50][8]*client
		var running sync.WaitGroup
		for i := range 50 {
			running.Go(func() {
				for k := range 20 {
					w.nodes[k%2].publish("room", fmt.Sprintf("%d of %d", k, i))
				}
			})
		}
		for i := range clients {
			for k := range clients[i] {
				clients[i][k] = newClient(t, over, "room")
			}
			running.Go(func() {
				for k, c := range clients[i] {
					if err := c.tryConnect(w.nodes[(i+k)%2].at); err != nil {
						t.Errorf("connect: %v", err)
						return
					}
					stay := 1 + (i+k)%12 // messages to receive before leaving
					if !c.wait(func(all []follow.Message) bool { return len(all) > stay }) {
						t.Errorf("no message from the room: %v", c.Record().Err)
					}
					c.cut()
				}
			})
		}
		running.Wait()
		for i := range clients {
			for _, c := range clients[i] {
				c.span(w.truth.of("room"))
			}
		}
		var last []*client
		for i := range 6 {
			last = append(last, followOn(t, w.nodes[i%2], over, "room"))
		}
		w.awaitSubscriptions("room", 2)
		end := w.nodes[0].publish("room", "end")
		for _, c := range last {
			c.awaitEvent(end)
			c.exactly([]sent{end})
			c.cut()
		}
		w.awaitSubscriptions("room", 0)
		again := followOn(t, w.nodes[1], over, "room")
		again.awaitEvent(w.nodes[0].publish("room", "again"))
	})
}

// awaitSubscriptions waits until Redis counts n subscriptions to a room.
func (w *system) awaitSubscriptions(room string, n int64) {
	w.t.Helper()
	if w.log != onRedis {
		return
	}
	admin, channel := w.admin(), w.key("c", room)
	wait.Until(w.t, fmt.Sprintf("Redis has %d subscriptions to the room", n), func() bool {
		counts, err := admin.PubSubShardNumSub(context.Background(), channel).Result()
		if err != nil {
			w.t.Fatal(err)
		}
		return counts[channel] == n
	})
}

// Many clients publish on several nodes at the same time: every connection receives the
// events in the order of the log.
func TestScenario18OneOrder(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.nodes = 3 })
		var clients []*client
		for i := range 12 {
			rooms := [][]string{{"one"}, {"two"}, {"one", "two"}, {"two", "one", "three"}}[i%4]
			c := newClient(t, over, rooms...)
			c.connect(w.nodes[i%3].at)
			clients = append(clients, c)
		}
		var publishing sync.WaitGroup
		for i := range 15 {
			publishing.Go(func() {
				for k := range 30 {
					w.nodes[i%3].publish([]string{"one", "two", "three"}[k%3], fmt.Sprintf("%d of %d", k, i))
				}
			})
		}
		publishing.Wait()
		for _, c := range clients {
			c.awaitEvents(len(w.truth.of(c.rooms...)))
			c.exactlyAll(w)
		}
	})
}

// smallSocket is the size in bytes of a socket buffer that fills quickly. TCP over loopback
// sends up to 64 KiB at once, and is very slow with smaller buffers.
const smallSocket = 64 << 10

// One connection stops reading. The others receive everything meanwhile. The node holds a
// bounded amount for it, counted in events still in memory. When it reads on, it receives
// every event, in order, on the same connection.
func TestScenario19StopsReading(t *testing.T) {
	const (
		size  = 2 << 10
		queue = 64
		hot   = 50
	)
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.faulty, s.sendBuffer = true, smallSocket
			s.keep.Events = 100_000
			s.node.Queue, s.node.Hot = queue, hot
		})
		n := w.nodes[0]
		n.faults.counts.Store(true)
		fast := followOn(t, n, over, "room")
		slow := newClient(t, over, "room")
		slow.receiveBuffer = smallSocket
		slow.connect(n.at)
		slow.awaitLive()
		slow.pause()
		published := 0
		// The node may hold the hot tail, the queue, and the batch being written.
		bound := int64(hot + queue + queue)
		more := func() {
			w.nodes[1].fill("room", published, published+25, size)
			published += 25
			fast.awaitEvents(published) // the slow client delays no other
			if published%100 == 0 {
				wait.Until(t, fmt.Sprintf("the node holds at most %d events", bound), func() bool {
					runtime.GC()
					return n.faults.held.Load() <= bound
				})
			}
		}
		for n.metric("tidemark_queue_overflows_total") == 0 {
			more()
			if published > 10_000 {
				t.Fatal("the queue never fills")
			}
		}
		full := published
		for published < full+1500 {
			more()
		}
		if got := slow.eventCount(); got >= full {
			t.Errorf("the slow client received %d of %d events: it was not slow", got, published)
		}
		slow.resume()
		slow.awaitEvents(published)
		for _, c := range []*client{fast, slow} {
			c.exactlyAll(w)
			c.stayed()
		}
	})
}

// One connection reads slower than the room publishes, until the log has trimmed its next
// event. It receives a gap notice and then the oldest kept event, and no hole without a
// notice.
func TestScenario20FallsOffTheLog(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) {
			s.sendBuffer = smallSocket
			s.keep.Events = 50
			s.node.Queue, s.node.Hot = 16, 20
		})
		fast := followOn(t, w.nodes[1], over, "room")
		slow := newClient(t, over, "room")
		slow.receiveBuffer = smallSocket
		slow.connect(w.nodes[0].at)
		slow.awaitLive()
		published := 0
		more := func() {
			w.nodes[1].fill("room", published, published+10, 2<<10)
			published += 10
			fast.awaitEvents(published)
		}
		overflows := func() float64 { return w.nodes[0].metric("tidemark_queue_overflows_total") }
		for range 3 {
			slow.pause()
			for before := overflows(); overflows() == before; {
				if more(); published > 20_000 {
					t.Fatal("the queue never fills")
				}
			}
			// Publish until the sockets are full too, and past the retention limit.
			for range 60 {
				more()
			}
			slow.resume()
			all := w.truth.of("room")
			slow.awaitEvent(all[len(all)-1])
		}
		fast.exactlyAll(w)
		slow.toldAll(w.truth.of("room"))
		slow.stayed()
		notices := gaps(slow.all())
		if len(notices) < 3 {
			t.Errorf("%d gap notices for three falls", len(notices))
		}
		for _, g := range notices {
			if g.Reason != "trimmed" {
				t.Errorf("%+v, want the reason trimmed", g)
			}
		}
		oldestFollows(t, slow.all())
		if got := slow.eventCount(); got >= published {
			t.Errorf("received %d of %d: nothing was trimmed", got, published)
		}
	})
}

// oldestFollows fails the test unless each notice is followed by the event that it names as
// the first after the hole.
func oldestFollows(t *testing.T, all []follow.Message) {
	t.Helper()
	var open *follow.Message
	for _, h := range all {
		switch {
		case h.Kind == follow.Gap:
			open = &h
		case h.Kind == follow.Event && open != nil:
			if h.ID != open.Before {
				t.Errorf("the notice %+v is followed by %s", *open, h.ID)
			}
			open = nil
		}
	}
}

// A connection is cut at every single byte that it would receive: the client that returns
// with its cursor has every event once.
func TestScenario21CutAtAnyByte(t *testing.T) {
	matrix(t, func(t *testing.T, log string, over follow.Transport) {
		w := newSystem(t, log, func(s *setup) { s.api.KeepAlive = time.Hour })
		w.nodes[0].publishMany("room", 0, 5)
		want := w.truth.of("room")
		cuts := 0
		var running sync.WaitGroup
		for worker := range 8 {
			running.Go(func() {
				for bytes := 1 + worker; ; bytes += 8 {
					c := newClient(t, over, "room").from("earliest")
					c.budget = bytes
					if c.tryConnect(w.nodes[worker%2].at) == nil {
						if c.wait(func(all []follow.Message) bool { return len(all) >= 7 }) { // open, events, live
							c.cut()
							return // the whole stream was shorter
						}
					}
					if worker == 0 {
						cuts = bytes
					}
					if err := c.tryConnect(w.nodes[(worker+1)%2].at); err != nil {
						t.Errorf("coming back: %v", err)
						return
					}
					if !c.wait(func(all []follow.Message) bool { return c.liveIn(all) }) {
						t.Errorf("cut after %d bytes: no replay: %v", bytes, c.Record().Err)
					}
					c.cut()
					if c.exactly(want); t.Failed() {
						t.Errorf("this was the cut after %d bytes", bytes)
						return
					}
				}
			})
		}
		running.Wait()
		if cuts < 500 {
			t.Errorf("the last cut was after %d bytes: not the whole answer", cuts)
		}
	})
}
