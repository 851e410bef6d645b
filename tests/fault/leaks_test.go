package fault_test

import (
	"time"
)

const (
	// poolFiles is how many more connections to Redis a node may open under load and
	// keep: 10 for each processor and each of the servers of a Cluster. It is little
	// beside the thousands of clients that have come and gone.
	poolFiles = 150
	// poolGoroutines is how many more goroutines it may have: some of the runtime's and of
	// libraries begin when there is something to do for the first time.
	poolGoroutines = 5
	// heapLeft is how much more memory than at its start a node may use when
	// allClients has left, and so its hot tails are gone: what a runtime that has
	// been busy does not give back at once.
	heapLeft = 48 << 20
)

// takeFootprints notes what each node holds before anybody connects.
func (w *system) takeFootprints() {
	w.t.Helper()
	for _, n := range w.nodes {
		var err error
		if n.before, err = n.footprint(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// checkLeaks has everybody leave, and waits until each node holds what it did
// before they came.
func (w *system) checkLeaks() {
	w.t.Helper()
	w.stopClients()
	w.http.CloseIdleConnections()
	w.edge.kill() // nginx keeps connections to nodes
	for _, n := range w.nodes {
		var after footprint
		deadline := time.Now().Add(2 * time.Minute)
		for {
			var err error
			if after, err = n.footprint(); err != nil {
				w.t.Fatal(err)
			}
			if after.within(n.before) {
				break
			}
			if time.Now().After(deadline) {
				w.t.Errorf("node %s is left with %+v, it began with %+v", n.name, after, n.before)
				break
			}
			time.Sleep(time.Second) // a node that is asked all the time does not tidy up
		}
		w.logf("node %s began with %+v and is left with %+v", n.name, n.before, after)
	}
}

// within reports whether a node that holds f holds nothing of anybody that it held
// not before. Rooms, and with them their hot tails, are given up half a minute after
// the last client has left, for which a cut does not wait.
func (f footprint) within(before footprint) bool {
	if thorough() && (f.rooms > 0 || f.heap > before.heap+heapLeft) {
		return false
	}
	return f.connections == 0 && f.subscriptions == 0 &&
		f.goroutines <= before.goroutines+poolGoroutines && f.files <= before.files+poolFiles
}
