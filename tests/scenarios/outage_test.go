package scenarios_test

import (
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/redistest"
)

// Redis returns empty, from a snapshot older than the newest events, or from its AOF, or it
// is flushed under the nodes. If data were lost, every client is told so without any
// publish; otherwise none is. Live delivery resumes by itself on the open connections, and
// new ids exceed all earlier ones.
func TestScenario14RedisLosesData(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		midway []any // run between the first and the last events of a round
		fail   func(*redistest.Server)
		lost   bool
	}{
		"restarts empty":           {fail: killAndRestart, lost: true},
		"restarts from a snapshot": {midway: []any{"save"}, fail: killAndRestart, lost: true},
		"flushed":                  {fail: (*redistest.Server).Flush, lost: true},
		"restarts from AOF":        {args: []string{"--appendonly", "yes", "--appendfsync", "always"}, fail: killAndRestart},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, over follow.Transport) {
				server := redistest.StartProcess(t, c.args...)
				w := newSystem(t, onRedis, func(s *setup) { s.redis = server })
				var open []*client
				for _, n := range w.nodes {
					open = append(open, followOn(t, n, over, "room"), followOn(t, n, over, "room", "other"), followOn(t, n, over, "silent"))
				}
				losses := 0
				for round := range 3 {
					w.nodes[round%2].publishMany("room", 20*round, 20*round+10)
					if c.midway != nil {
						w.do(c.midway...)
					}
					w.nodes[round%2].publishMany("room", 20*round+10, 20*round+20)
					w.nodes[round%2].publish("other", fmt.Sprint("round ", round))
					w.nodes[1-round%2].publish("silent", fmt.Sprint("round ", round))
					for _, c := range open {
						c.awaitEvents(len(w.truth.of(c.rooms...)))
					}
					c.fail(server)
					before := w.truth.of("room")
					if c.lost {
						losses++
						for _, c := range open {
							c.await("a notice for each room", func(all []follow.Message) bool { return noticed(all, c.rooms, losses) })
						}
					}
					w.comeBack(over, before, c.lost, round)
				}
				for _, c := range open {
					all := w.truth.of(c.rooms...)
					c.awaitEvent(all[len(all)-1])
					if losses == 0 {
						c.exactlyAll(w)
					} else {
						c.toldLosses(w)
					}
					c.stayed()
				}
			})
		})
	}
}

func killAndRestart(r *redistest.Server) { r.Kill(); r.Restart() }

// noticed reports whether n losses were reported for each room.
func noticed(all []follow.Message, rooms []string, n int) bool {
	for _, room := range rooms {
		if len(gaps(only(all, room))) < n {
			return false
		}
	}
	return true
}

// comeBack makes clients return with cursors from before the failure of Redis, and
// publishes. They receive the kept and the new events, with a notice in the place of the
// loss, if there was one.
func (w *system) comeBack(over follow.Transport, before []sent, lost bool, round int) {
	w.t.Helper()
	old := []string{before[len(before)-5].id, before[len(before)-15].id}
	var clients []*client
	for i := range 4 {
		c := newClient(w.t, over, "room").from(old[i/2])
		c.connect(w.nodes[i%2].at)
		c.awaitLive()
		clients = append(clients, c)
	}
	next := w.nodes[0].publish("room", fmt.Sprint("after ", round))
	if newest := before[len(before)-1].id; next.id <= newest {
		w.t.Errorf("the id %s does not pass %s, which was handed out before", next.id, newest)
	}
	for i, c := range clients {
		c.awaitEvent(next)
		all := after(w.truth.of("room"), old[i/2])
		if !lost {
			c.exactly(all)
			continue
		}
		if got := gaps(c.all()); len(got) == 0 || got[0].Reason != "reset" {
			w.t.Errorf("the notices are %+v, want one with the reason reset", got)
		}
		c.toldAll(all)
	}
}

// toldLosses fails the test unless the client received each event once and in order, because
// each was delivered before it was lost, and each notice has the reason reset.
func (c *client) toldLosses(w *system) {
	c.t.Helper()
	for _, room := range c.rooms {
		heard := only(c.all(), room)
		if d := c.difference(w.truth.of(room), heard); !d.OK() {
			c.t.Errorf("%v: %v", c.over, d)
		}
		for _, g := range gaps(heard) {
			if g.Reason != "reset" {
				c.t.Errorf("%v: notice %+v, want the reason reset", c.over, g)
			}
		}
	}
}
