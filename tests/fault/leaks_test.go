package fault_test

import (
	"time"
)

const (
	// poolFiles is the number of additional connections to Redis that a node may open under
	// load and keep: 10 for each processor and each server of a Cluster. Compared with
	// thousands of clients it is small.
	poolFiles = 150
	// poolGoroutines is the number of additional goroutines that a node may keep: the
	// runtime and libraries start some on first use.
	poolGoroutines = 5
	// heapLeft is the additional memory in bytes that a node may use when all clients have
	// left and their hot tails are gone: a busy runtime does not return all memory at once.
	heapLeft = 48 << 20
)

// takeFootprints records the resources of each node before any client connects.
func (w *system) takeFootprints() {
	w.t.Helper()
	for _, n := range w.nodes {
		var err error
		if n.before, err = n.footprint(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// checkLeaks disconnects all clients and waits until each node holds no more than before
// they came.
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
			time.Sleep(time.Second) // constant requests would keep the node from freeing memory
		}
		w.logf("node %s began with %+v and is left with %+v", n.name, n.before, after)
	}
}

// within reports whether f holds no more than before. A node gives up rooms and their hot
// tails half a minute after the last client has left. A cut does not wait for that.
func (f footprint) within(before footprint) bool {
	if thorough() && (f.rooms > 0 || f.heap > before.heap+heapLeft) {
		return false
	}
	return f.connections == 0 && f.subscriptions == 0 &&
		f.goroutines <= before.goroutines+poolGoroutines && f.files <= before.files+poolFiles
}
