package serve

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// heapFloor is an allocation that is never touched, so it takes no memory. The garbage
	// collector counts it as live and therefore runs only after that much has been
	// allocated again. A node with few connections uses a few megabytes, and without the
	// floor publishing would trigger the collector tens of times per second.
	heapFloor = 32 << 20

	// Every releaseEvery the releaser checks whether the node is quiet, which means that it
	// has allocated less than quietBytes since the last check. A quiet node that has
	// allocated more than garbageBytes since the last release collects its garbage and
	// returns the memory to the system. Otherwise the garbage of ten thousand handshakes
	// would stay until the collector's next turn. 30 s after 9,000 clients have connected,
	// each connection takes 5.7 KiB of the process's memory over SSE and 8.3 KiB over
	// WebSocket. Without heapFloor and the releaser it takes 7.1 and 9.3 KiB.
	releaseEvery = 2 * time.Second
	quietBytes   = 4 << 20
	garbageBytes = 16 << 20

	// releaseAgain is the interval of releases while the node stays quiet. They return
	// memory that became garbage without new allocations, for example of rooms that are
	// dropped half a minute after their last client has left.
	releaseAgain = 30 * time.Second
)

// startMemoryReleaser keeps the process small while it is quiet, until ctx ends or stop is
// called. stop waits for its goroutine.
func startMemoryReleaser(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { releaseMemory(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

func releaseMemory(ctx context.Context) {
	floor := make([]byte, heapFloor)
	defer runtime.KeepAlive(floor)
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	last, atRelease, released := sample[0].Value.Uint64(), uint64(0), time.Now()
	tick := time.NewTicker(releaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(sample)
		now := sample[0].Value.Uint64()
		if now-last < quietBytes && (now-atRelease > garbageBytes || time.Since(released) > releaseAgain) {
			debug.FreeOSMemory()
			atRelease, released = now, time.Now()
		}
		last = now
	}
}
