package fault_test

import (
	"context"
	"math/rand/v2"
	"time"
)

// Publishers send fatRate bytes a second into the fat room, in events of fatSize. In one
// round that is more than socket buffers hold for a client that does not read.
const (
	fatSize = 32 << 10
	fatRate = 800 << 10
	fatKeep = 500 // events
)

// A clientMix is the number of clients of each kind.
type clientMix struct {
	steady, restless, several int // clients per ordinary room; several: clients of more than one room
	slow                      int // clients of the fat room that read slower than it is published
}

// startClients starts the clients of a mix. They follow until the system ends.
func (w *system) startClients(c clientMix) {
	for i, r := range w.ordinary() {
		for k := range c.steady {
			w.newClient(clientName("steady", i, k), behavior{over: transport(k % 2), start: "since=now", staged: k%4 == 0}, r)
		}
		for k := range c.restless {
			h := behavior{over: overEither, start: "last=20", cutEvery: 3 * time.Second, staged: k%4 == 0}
			w.newClient(clientName("restless", i, k), h, r)
		}
	}
	for k := range c.slow {
		// Slow clients connect past nginx to the node that is never killed, so that their
		// unread bytes wait at that node.
		h := behavior{over: transport(k % 2), start: "since=now", pause: 50 * time.Millisecond, at: w.nodes[0].addr}
		w.newClient(clientName("slow", 0, k), h, w.fat)
		w.newClient(clientName("fast", 0, k), behavior{over: transport(k % 2), start: "since=now"}, w.fat)
	}
	rng := w.newRand()
	for k := range c.several {
		rooms := w.ordinary()
		rng.Shuffle(len(rooms), func(i, k int) { rooms[i], rooms[k] = rooms[k], rooms[i] })
		rooms = rooms[:min(2+k%2, len(rooms))]
		h := behavior{over: transport(k % 3), start: "since=now", staged: k%4 == 1}
		if k%4 == 3 {
			h.cutEvery = 4 * time.Second
		}
		w.newClient(clientName("several", 0, k), h, rooms...)
	}
}

func clientName(kind string, room, k int) string { return kind + "-" + itoa(room) + "-" + itoa(k) }

// publishers returns publishers of every kind for the system's rooms. Together they publish
// about rate events a second.
func (w *system) publishers(rate int) []*publisher {
	var all []*publisher
	add := func(how way, batch int, rooms ...*room) { all = append(all, w.newPublisher(how, batch, rooms...)) }
	if w.fat != nil {
		add(inBatches, 10, w.fat)
		all[0].padding = fatSize
	}
	ordinary := w.ordinary()
	for i, r := range ordinary {
		add(oneByOne, 1, r)
		add(inBatches, 10, r)
		if i%2 == 0 {
			add(onSocket, 20, r)
		}
	}
	add(overRooms, 2, ordinary[:min(4, len(ordinary))]...)
	add(oneByOne, 1, w.broadcast)
	for _, p := range all {
		if p.padding > 0 {
			p.every = 10 * fatSize * time.Second / fatRate
			continue
		}
		p.every = time.Duration(float64(time.Second) * float64(len(all)*p.batch*len(p.rooms)) / float64(rate))
	}
	return all
}

// newPublisher returns a publisher of batch events at a time.
func (w *system) newPublisher(how way, batch int, rooms ...*room) *publisher {
	return &publisher{w: w, index: int(w.publisherCount.Add(1)), way: how, rooms: rooms, batch: batch, rng: w.newRand()}
}

// goBack is how far in the past some new clients start.
const goBack = 2 * time.Second

// newcomers starts new clients, some at a position in the past, until ctx ends. Each goes
// away after a while.
func (w *system) newcomers(ctx context.Context, rng *rand.Rand) {
	w.rest(ctx, 2*goBack) // the log must go back that far
	for k := 0; ctx.Err() == nil; k++ {
		rooms := w.ordinary()
		rng.Shuffle(len(rooms), func(i, k int) { rooms[i], rooms[k] = rooms[k], rooms[i] })
		rooms = rooms[:1+rng.IntN(2)]
		starts := []string{"since=now", "since=-" + goBack.String()}
		if len(rooms) == 1 { // with several rooms, each has its own start, and the cursor is the earliest
			starts = append(starts, "last=30")
		}
		w.newClient(clientName("newcomer", 0, k), behavior{
			over: overEither, start: starts[rng.IntN(len(starts))], cutEvery: 2 * time.Second,
			until: time.Now().Add(between(rng, 500*time.Millisecond, 5*time.Second)),
		}, rooms...)
		w.rest(ctx, between(rng, 100*time.Millisecond, 400*time.Millisecond))
	}
}
