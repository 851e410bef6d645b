package fault_test

import (
	"testing"
	"time"
)

// Faults of all kinds, some at a time, on each shape of Redis. The last round is one
// in which the log loses events for sure.
func TestMixedStandalone(t *testing.T) { mixed(t, newStandalone(t, "always")) }
func TestMixedSentinel(t *testing.T)   { mixed(t, newSentinel(t)) }
func TestMixedCluster(t *testing.T)    { mixed(t, newCluster(t)) }

func mixed(t *testing.T, redis deployment) {
	w := newWorld(t, redis.shape(), redis, plan{nodes: 3, rooms: 8, tiny: 2})
	w.recruit(crew{steady: 6, restless: 3, slow: 1, several: 20})
	for range 2 {
		w.run(round{
			lasts:      inCut(15*time.Second, 20*time.Second),
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
