package fault_test

import (
	"fmt"
	"time"
)

// A heldLoad is the load of one node and its duration.
type heldLoad struct {
	connections, rooms int
	rate               int           // publishes a second
	settles            time.Duration // time until memory must stop growing
	lasts              time.Duration // in all, including settles
	every              time.Duration // interval between two measurements
	growth             float64       // bytes by which the measured heap may grow
}

// theHeldLoad returns the load of the full run, or that of the cut: there race-built nodes
// share the machine with other tests and can have at most 8,128 goroutines.
//
// In four minutes the full run publishes 480,000 events and delivers 19 million. 100 bytes
// kept of each event would be 48 MB, 1 byte of each delivery 19 MB, 64 KiB a second 15 MB:
// all exceed the allowed growth. The cut detects only a node that keeps whole events.
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

// A memory is a node's memory at a moment.
type memory struct {
	At       time.Duration
	Resident float64 // bytes, from the kernel

	// Heap is half of the heap size at which the next garbage collection starts. That is
	// about the size after the last collection, without the garbage since.
	Heap float64
}

// A hold is the result of a held load.
type hold struct {
	Connections int
	Rate        float64 // events published a second
	First, Last memory  // the ends of the fitted lines
}

// watch measures a node's memory while the load lasts.
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

// ends returns the ends of the lines that fit the measurements best (least squares).
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

// checkFlat fails the test if the node's memory grows.
func (w *system) checkFlat(l heldLoad) {
	w.t.Helper()
	h := w.held
	w.t.Logf("%.0f publishes a second; resident %s, then %s; heap %s, then %s", h.Rate,
		megabytes(h.First.Resident), megabytes(h.Last.Resident), megabytes(h.First.Heap), megabytes(h.Last.Heap))
	if grown := h.Last.Heap - h.First.Heap; grown > l.growth {
		w.t.Errorf("the heap grows by %s in %v", megabytes(grown), h.Last.At-h.First.At)
	}
	if !thorough() {
		return // resident memory varies with the collector by more than so short a run can show
	}
	if grown := h.Last.Resident - h.First.Resident; grown > 4*l.growth {
		w.t.Errorf("resident memory grows by %s in %v", megabytes(grown), h.Last.At-h.First.At)
	}
	if h.Rate < 0.95*float64(l.rate) {
		w.t.Errorf("%.0f publishes a second, want %d", h.Rate, l.rate)
	}
}

func megabytes(n float64) string { return fmt.Sprintf("%.1f MB", n/1e6) }
