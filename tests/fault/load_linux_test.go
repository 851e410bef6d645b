package fault_test

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

const (
	// hot is the number of events of each followed room that a node keeps in memory.
	hot = 1000
	// heldPadding is the approximate size of the events in bytes: that of most real ones.
	heldPadding = 100
	// visitorsAtOnce is the number of clients that come and go during the test.
	visitorsAtOnce = 20
)

// Ten thousand connections follow, and publishers send two thousand events a second for five
// minutes. Every client receives everything, and after the first minute the node's memory
// does not grow. When all have left, the node holds no more than before.
func TestLoadHeld(t *testing.T) {
	l := theHeldLoad()
	w := newSystem(t, fmt.Sprintf("%s connections", grouped(int64(l.connections))), newStandalone(t, "never"), plan{nodes: 1, rooms: l.rooms})
	w.own = true
	n := w.nodes[0]
	w.newBulkClients(l.connections, n)
	w.fill(n)
	for k := range visitorsAtOnce {
		r := w.ordinary()[k%l.rooms]
		w.newClient(clientName("comer", k%l.rooms, k), behavior{over: overEither, start: "last=20", cutEvery: 2 * time.Second}, r)
	}
	w.awaitLive()
	connects := w.counts.connects.Load()

	began, published := time.Now(), w.counts.published.Load()
	end := w.begin(w.steady(n, l.rate))
	w.held = watch(n, l)
	w.held.Connections = l.connections
	w.held.Rate = float64(w.counts.published.Load()-published) / time.Since(began).Seconds()
	end()
	w.checkFlat(l)
	if w.counts.connects.Load() == connects {
		t.Error("no client came and went")
	}
	w.checkLeaks()
	w.conclude()
}

// fill publishes as many events into each ordinary room as a node keeps in memory, so that
// later events do not raise memory, and waits until all clients have them.
func (w *system) fill(n *node) {
	w.t.Helper()
	const batch, atOnce = 250, 4
	end := w.begin(nil)
	rooms := make(chan *room)
	var filling sync.WaitGroup
	for range atOnce {
		filling.Go(func() {
			for r := range rooms {
				p := w.newPublisher(inBatches, batch, r)
				p.url, p.padding = "http://"+n.addr, heldPadding
				for range hot / batch {
					p.publish(nil)
				}
			}
		})
	}
	for _, r := range w.ordinary() {
		rooms <- r
	}
	close(rooms)
	filling.Wait()
	end()
}

// steady returns publishers that publish directly to a node, evenly into all ordinary rooms:
// half of the events one by one over REST, half over WebSockets.
func (w *system) steady(n *node, rate int) (all []*publisher) {
	const frames = 4 // at a time
	for _, r := range w.ordinary() {
		all = append(all, w.newPublisher(oneByOne, 1, r), w.newPublisher(onSocket, frames, r))
	}
	each := time.Duration(len(all)) * time.Second / time.Duration(rate)
	for _, p := range all {
		p.url, p.padding, p.every = "http://"+n.addr, heldPadding, each*time.Duration(p.batch)
	}
	return all
}
