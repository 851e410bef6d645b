package fault_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
)

// A node with default settings keeps these limits. A cut runs on busy machines with nodes
// that are ten times slower.
const (
	tailLimit = 10 * time.Second
	backLimit = 5 * time.Second
	leniency  = 4 // factor for the cut
)

func (w *system) within(what string, took, limit time.Duration) {
	w.t.Helper()
	w.t.Logf("%s: %v at most", what, took.Round(time.Millisecond))
	if !thorough() {
		limit *= leniency
	}
	if took > limit {
		w.t.Errorf("%s: %v, want %v at most", what, took, limit)
	}
}

// The last event of a room is lost on its way to the nodes, and then the room is quiet.
// Every connection still receives the event.
func TestTailOfQuietRoom(t *testing.T) {
	t.Parallel()
	log := &dropping{standalone: newStandalone(t, "always")}
	w := newSystem(t, "tail of a quiet room", log, plan{nodes: 2, rooms: 2})
	w.startClients(few)
	w.awaitLive()
	end := w.begin(nil)
	times := 2
	if thorough() {
		times = 8
	}
	quiet := w.ordinary()[0]
	for range times {
		w.loseTail(log, quiet)
	}
	end()
	w.within("from the loss of a frame to its delivery", time.Duration(w.counts.tail.Load()), tailLimit)
	w.conclude()
}

// loseTail publishes an event whose message no node receives, and waits until all followers
// of its room have it.
func (w *system) loseTail(log *dropping, r *room) {
	w.t.Helper()
	before := make([]int64, len(log.droppers))
	for i, d := range log.droppers {
		before[i] = d.dropped.Load()
		d.drop(r.name)
	}
	p := &publisher{w: w, rooms: []*room{r}}
	m, ok := w.publishOne(p)
	if !ok {
		return
	}
	published := w.now()
	for i, d := range log.droppers {
		wait.Until(w.t, "the frame to be lost", func() bool { return d.dropped.Load() > before[i] })
		d.drop("")
	}
	for _, c := range w.allClients() {
		t := c.trackOf([]byte(r.name))
		if t == nil {
			continue
		}
		var at time.Duration
		wait.Until(w.t, "the lost event on "+c.name, func() (ok bool) {
			at, ok = c.received(t, m)
			return ok
		})
		longest(&w.counts.tail, at-published)
	}
}

// Redis fails in every way that it can, and returns: standing connections receive live
// events again.
func TestLiveAfterReturn(t *testing.T) {
	t.Parallel()
	log := newStandalone(t, "always")
	w := newSystem(t, "Redis's return", log, plan{nodes: 2, rooms: 2})
	w.startClients(few)
	end := w.begin(w.publishers(50))
	w.awaitLive()
	rng := w.newRand()
	for _, f := range w.absences(log) {
		w.inject(f, rng)
	}
	end()
	w.within("from Redis's return to live delivery", time.Duration(w.counts.back.Load()), backLimit)
	w.conclude()
}

// absences are the ways for Redis to be away, each for several durations. A node detects a
// silent Redis by a time-out, so a black hole must last longer than that.
func (w *system) absences(log *standalone) []fault {
	lasting := []time.Duration{500 * time.Millisecond}
	silent := []time.Duration{7 * time.Second}
	if thorough() {
		lasting = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second, 7 * time.Second, 15 * time.Second}
		silent = lasting
	}
	var all []fault
	add := func(name string, times []time.Duration, begin, end func()) {
		for _, d := range times {
			all = append(all, fault{name, func(w *system, _ *rand.Rand) {
				begin()
				time.Sleep(d)
				end()
				w.measureRecovery(w.nodes...)
			}})
		}
	}
	links := func(do func(*link)) func() {
		return func() {
			for _, n := range w.nodes {
				do(n.redis)
			}
		}
	}
	add("Redis killed -9", lasting, log.server.Kill, log.server.Restart)
	add("Redis stops for a while", lasting, log.server.Pause, log.server.Resume)
	add("nodes and Redis: refused", lasting, links((*link).close), links((*link).open))
	add("nodes and Redis: black hole", silent, links(func(l *link) { l.inject(blackHole()) }), links((*link).heal))
	return all
}
