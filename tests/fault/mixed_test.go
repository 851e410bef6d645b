package fault_test

import (
	"testing"
	"time"
)

// Faults of all kinds, some at a time, and none of them loses a thing.
func TestMixedStandalone(t *testing.T) {
	w := newWorld(t, "mixed", newStandalone(t, "always"), plan{nodes: 3, rooms: 8, tiny: 2})
	w.recruit(crew{steady: 6, restless: 3, slow: 1, several: 20})
	for range 2 {
		w.run(round{
			lasts:      inCut(15*time.Second, time.Minute),
			calm:       time.Second,
			publishers: w.publishers(300),
			tracks:     [][]fault{edgeFaults(), nodeFaults(), w.redis.faults()},
		})
	}
	w.run(round{
		lasts:      10 * time.Second,
		calm:       time.Second,
		publishers: w.publishers(300),
		tracks:     [][]fault{edgeFaults()},
		once:       w.redis.losers(),
	})
	w.leaveNothing()
	w.conclude()
}
