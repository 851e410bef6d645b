package fault_test

import (
	"fmt"
	"time"
)

// A heldLoad is what one node has to bear, and for how long.
type heldLoad struct {
	connections, rooms int
	rate               int           // publishes a second
	settles            time.Duration // after which memory is to be flat
	lasts              time.Duration // with that
	every              time.Duration // at which memory is looked at
	growth             float64       // bytes by which the heap may seem to grow in all that time
}

// theHeldLoad is that of the full run, or what the cut has of it: race-built nodes share
// the machine with other tests there, and can have no more than 8,128 goroutines.
//
// In four minutes the full run publishes 480,000 events and delivers 19 million. 100 bytes
// kept of each event are 48 MB, 1 byte of each delivery 19, 64 KiB a second 15: all more
// than the heap may seem to grow. The cut finds no more than what keeps events whole.
func theHeldLoad() heldLoad {
	if thorough() {
		return heldLoad{
			connections: 10_000, rooms: 250, rate: 2000,
			settles: time.Minute, lasts: 5 * time.Minute, every: 2 * time.Second, growth: 10 << 20,
		}
	}
	return heldLoad{
		connections: 600, rooms: 15, rate: 300,
		settles: 5 * time.Second, lasts: 25 * time.Second, every: time.Second, growth: 8 << 20,
	}
}

// A memory is what a node uses at a moment.
type memory struct {
	At       time.Duration
	Resident float64 // bytes, as the system says

	// Heap is half of the size at which the node will collect garbage next: what the last
	// collection has left, about, and so without the garbage of the moment.
	Heap float64
}

// A hold is what became of a held load.
type hold struct {
	Connections int
	Rate        float64 // events published a second
	First, Last memory  // the lines through what was seen, where they begin and end
}

// watch looks at a node's memory while the load lasts.
func watch(n *node, l heldLoad) *hold {
	n.t.Helper()
	var seen []memory
	for began := time.Now(); time.Since(began) < l.lasts; time.Sleep(l.every) {
		at := time.Since(began)
		if at < l.settles {
			continue
		}
		m, err := n.metrics()
		if err != nil {
			n.t.Fatal(err)
		}
		seen = append(seen, memory{at, m["process_resident_memory_bytes"], m["go_memstats_next_gc_bytes"] / 2})
	}
	first, last := ends(seen)
	return &hold{First: first, Last: last}
}

// ends returns where the lines begin and end that fit best what was seen (least squares).
func ends(seen []memory) (first, last memory) {
	first.At, last.At = seen[0].At, seen[len(seen)-1].At
	first.Resident, last.Resident = fit(seen, func(m memory) float64 { return m.Resident })
	first.Heap, last.Heap = fit(seen, func(m memory) float64 { return m.Heap })
	return first, last
}

func fit(seen []memory, of func(memory) float64) (first, last float64) {
	n := float64(len(seen))
	var sumX, sumY, sumXX, sumXY float64
	for _, m := range seen {
		x, y := m.At.Seconds(), of(m)
		sumX, sumY, sumXX, sumXY = sumX+x, sumY+y, sumXX+x*x, sumXY+x*y
	}
	slope := (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	at := func(x float64) float64 { return sumY/n + slope*(x-sumX/n) }
	return at(seen[0].At.Seconds()), at(seen[len(seen)-1].At.Seconds())
}

// checkFlat fails the test where the node's memory grows.
func (w *system) checkFlat(l heldLoad) {
	w.t.Helper()
	h := w.held
	w.t.Logf("%.0f publishes a second; resident %s, then %s; heap %s, then %s", h.Rate,
		megabytes(h.First.Resident), megabytes(h.Last.Resident), megabytes(h.First.Heap), megabytes(h.Last.Heap))
	if grown := h.Last.Heap - h.First.Heap; grown > l.growth {
		w.t.Errorf("the heap grows by %s in %v", megabytes(grown), h.Last.At-h.First.At)
	}
	if !thorough() {
		return // what is resident goes up and down with the collector, by more than in such a short time counts
	}
	if grown := h.Last.Resident - h.First.Resident; grown > 4*l.growth {
		w.t.Errorf("resident memory grows by %s in %v", megabytes(grown), h.Last.At-h.First.At)
	}
	if h.Rate < 0.95*float64(l.rate) {
		w.t.Errorf("%.0f publishes a second, want %d", h.Rate, l.rate)
	}
}

func megabytes(n float64) string { return fmt.Sprintf("%.1f MB", n/1e6) }
