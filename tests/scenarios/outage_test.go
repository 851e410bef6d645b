package scenarios_test

import (
	"fmt"
	"testing"

	"github.com/tidemark/tidemark/tests/redistest"
)

// Redis comes back empty, is flushed under the nodes, or comes back from its AOF.
// Where data was lost, everybody is told so, without any publish; where none was,
// nobody is. Live delivery goes on by itself, on the open connections, and ids
// pass all that was ever handed out.
func TestScenario14RedisLosesData(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		fail func(*redistest.Server)
		lost bool
	}{
		"restarts empty": {nil, func(r *redistest.Server) { r.Kill(); r.Restart() }, true},
		"flushed":        {nil, func(r *redistest.Server) { r.Flush() }, true},
		"restarts from AOF": {
			[]string{"--appendonly", "yes", "--appendfsync", "always"},
			func(r *redistest.Server) { r.Kill(); r.Restart() }, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, over transport) {
				server := redistest.StartProcess(t, c.args...)
				w := newWorld(t, onRedis, func(s *setup) { s.redis = server })
				var open []*client
				for _, n := range w.nodes {
					open = append(open, follow(t, n, over, "room"), follow(t, n, over, "room", "other"), follow(t, n, over, "silent"))
				}
				losses := 0
				for round := range 3 {
					w.nodes[round%2].publishMany("room", 20*round, 20*round+20)
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
							c.await("a notice for each room", func(all []heard) bool { return noticed(all, c.rooms, losses) })
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

// noticed reports whether each of rooms was told of n losses.
func noticed(all []heard, rooms []string, n int) bool {
	for _, room := range rooms {
		if len(gaps(only(all, room))) < n {
			return false
		}
	}
	return true
}

// comeBack has clients come back with a cursor from before Redis failed, and
// publishes: they get what was logged since, behind a notice if there was a loss.
func (w *world) comeBack(over transport, before []sent, lost bool, round int) {
	w.t.Helper()
	old := before[len(before)-5].id
	var clients []*client
	for _, n := range w.nodes {
		c := newClient(w.t, over, "room").from(old)
		c.connect(n.addr)
		c.awaitLive()
		clients = append(clients, c)
	}
	next := w.nodes[0].publish("room", fmt.Sprint("after ", round))
	if newest := before[len(before)-1].id; next.id <= newest {
		w.t.Errorf("the id %s does not pass %s, which was handed out before", next.id, newest)
	}
	for _, c := range clients {
		c.awaitEvent(next)
		all := after(w.truth.of("room"), old)
		if !lost {
			c.exactly(all)
			continue
		}
		if got := gaps(c.all()); len(got) == 0 || got[0].reason != "reset" {
			w.t.Errorf("the notices are %+v, want one with the reason reset", got)
		}
		c.toldAll(all)
	}
}

// toldLosses fails the test unless each event was heard, once and in order, for
// each was delivered before it was lost, and each notice has the reason reset.
func (c *client) toldLosses(w *world) {
	c.t.Helper()
	for _, room := range c.rooms {
		heard := only(c.all(), room)
		if d := c.difference(w.truth.of(room), heard); !d.OK() {
			c.t.Errorf("%v: %v", c.over, d)
		}
		for _, g := range gaps(heard) {
			if g.reason != "reset" {
				c.t.Errorf("%v: notice %+v, want the reason reset", c.over, g)
			}
		}
	}
}
