package main

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// heapFloor counts as used, so that garbage is collected each time that as much
	// again has been made. A node with few connections uses a few megabytes, and
	// publishing would have it collect them tens of times a second. It is never
	// touched, and so takes no memory.
	heapFloor = 32 << 20

	// Every tidyEvery the node looks whether it is quiet: has made less than
	// quietBytes since the last look. If so, and more than garbageBytes may lie about,
	// it collects them and gives them back to the system: what ten thousand handshakes
	// leave behind would else stay until the collector's own turn.
	tidyEvery    = 2 * time.Second
	quietBytes   = 4 << 20
	garbageBytes = 16 << 20

	// tidyAgain is after how long it does so in any case while it is quiet. What is let go
	// of counts as nothing made: the memory of rooms that everybody left half a minute ago.
	tidyAgain = 30 * time.Second
)

// tidy keeps the process small where that costs nothing, until ctx ends.
func tidy(ctx context.Context) {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	made := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(made)
	last, tidied, since := made[0].Value.Uint64(), uint64(0), time.Now()
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(made)
		now := made[0].Value.Uint64()
		if now-last < quietBytes && (now-tidied > garbageBytes || time.Since(since) > tidyAgain) {
			debug.FreeOSMemory()
			tidied, since = now, time.Now()
		}
		last = now
	}
}
