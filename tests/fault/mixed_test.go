package fault_test

import (
	"testing"
	"time"
)

// Faults of all kinds, some at a time, on each shape of Redis.
func TestMixedStandalone(t *testing.T) { mixed(t, newStandalone(t, "always")) }
func TestMixedSentinel(t *testing.T)   { mixed(t, newSentinel(t, "replicated")) }
func TestMixedCluster(t *testing.T)    { mixed(t, newCluster(t)) }

// A load is how much a run of mixed faults has to do, and for how long.
type load struct {
	plan
	clientMix
	rate   int           // events a second that publishers try
	rounds int           // in which nothing is to be lost
	lasts  time.Duration // of each
}

// theLoad is that of the cut, of the full run or of a soak. In the cut, race-built
// nodes share the machine with other tests.
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
		l.rounds = max(1, int(*soak/(3*l.lasts))) // three shapes share it
	}
	return l
}

// mixed runs rounds in which nothing is to be lost, and then one in which the log
// loses events for sure.
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

// checkSlowFellBehind fails the test unless slow clients filled their queues, and went on
// from the log. A cut may be too short for that on a machine that does other things.
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
