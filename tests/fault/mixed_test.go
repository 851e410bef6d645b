package fault_test

import (
	"testing"
	"time"
)

// Faults of all kinds, several at a time, on each topology of Redis.
func TestMixedStandalone(t *testing.T) { mixed(t, newStandalone(t, "always")) }
func TestMixedSentinel(t *testing.T)   { mixed(t, newSentinel(t, "replicated")) }
func TestMixedCluster(t *testing.T)    { mixed(t, newCluster(t)) }

// A load is the amount and duration of a run of mixed faults.
type load struct {
	plan
	clientMix
	rate   int           // events a second to publish
	rounds int           // without a loss
	lasts  time.Duration // per round
}

// theLoad returns the load of the cut, the full run or a soak. In the cut, race-built nodes
// share the machine with other tests.
func theLoad() load {
	l := load{
		plan:      plan{nodes: 2, rooms: 4, tiny: 1, fat: true},
		clientMix: clientMix{steady: 4, restless: 2, slow: 2, several: 9},
		rate:      200,
		rounds:    1,
		lasts:     15 * time.Second,
	}
	if thorough() {
		l.plan = plan{nodes: 3, rooms: 8, tiny: 2, fat: true}
		l.clientMix = clientMix{steady: 30, restless: 6, slow: 4, several: 80}
		l.rate, l.rounds, l.lasts = 700, 5, 35*time.Second
	}
	if *soak > 0 {
		l.rounds = max(1, int(*soak/(3*l.lasts))) // three topologies share the time
	}
	return l
}

// mixed runs rounds in which the log must lose nothing, and then one in which it certainly
// loses events.
func mixed(t *testing.T, log deployment) {
	l := theLoad()
	w := newSystem(t, log.topology(), log, l.plan)
	w.own = true
	w.startClients(l.clientMix)
	for range l.rounds {
		w.run(round{
			lasts: l.lasts, calm: time.Second, publishers: w.publishers(l.rate),
			tracks: [][]fault{edgeFaults(), nodeFaults(), w.log.faults()},
		})
	}
	w.run(round{
		lasts: l.lasts / 2, calm: time.Second, publishers: w.publishers(l.rate),
		tracks: [][]fault{edgeFaults()}, once: w.log.lossFaults(),
	})
	w.checkSlowFellBehind()
	w.checkLeaks()
	w.conclude()
}

// checkSlowFellBehind fails the test unless slow clients have filled their queues and
// continued from the log. A cut on a busy machine may be too short for that.
func (w *system) checkSlowFellBehind() {
	w.t.Helper()
	m, err := w.nodes[0].metrics()
	if err != nil {
		w.t.Fatal(err)
	}
	if thorough() && m["tidemark_queue_overflows_total"] == 0 {
		w.t.Error("no queue was ever full: the slow were not slow enough")
	}
	w.logf("%.0f queues overflowed", m["tidemark_queue_overflows_total"])
}
