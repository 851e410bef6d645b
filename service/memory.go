package service

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tidemark/tidemark/streams"
)

// ErrBusy is the error of a read of the log that must wait for memory, because many other
// connections replay.
var ErrBusy = errors.New("too many replays are waiting for memory")

const (
	// turnWait bounds how long a history request waits for memory.
	turnWait = 10 * time.Second
	// turnLength is how long a replay keeps its memory while others wait.
	turnLength = 2 * time.Second
	// fillShare is the part of the replay memory that fills of hot tails use, as a divisor.
	fillShare = 8
	// entryBytes is about the memory of an event in a hot tail without its data, and
	// formsOfData the copies of its data: the event, and its encodings for SSE and WebSocket.
	entryBytes, formsOfData = 256, 3
)

// A memory bounds what a node holds for replays and in hot tails, in bytes. It is safe for
// concurrent use.
//
// Replays take turns: each acquires the memory that it may use before it reads the log, and
// has a place in a queue until there is enough. Live delivery does not wait meanwhile.
type memory struct {
	size    int64 // of replays, and of hot tails
	replays *semaphore.Weighted
	fills   *semaphore.Weighted
	waiting atomic.Int64 // replays in the queue
	used    atomic.Int64 // by replays
	hot     atomic.Int64 // by hot tails
	rooms   atomic.Int64 // followed

	registries []*registry // of the node; fixed once the node runs
}

func newMemory(size int64) *memory {
	fills := max(size/fillShare, hotBytes)
	return &memory{size: size, replays: semaphore.NewWeighted(size), fills: semaphore.NewWeighted(fills)}
}

// acquire takes n bytes for a history request, or all that the node has if n is more. It
// waits until they are free. It returns the bytes that release must give back. The error is
// ErrBusy or ctx's.
func (m *memory) acquire(ctx context.Context, n int64) (int64, error) {
	if got := m.tryAcquire(n); got > 0 {
		return got, nil
	}
	n = min(n, m.size)
	m.waiting.Add(1)
	defer m.waiting.Add(-1)
	bounded, cancel := context.WithTimeout(ctx, turnWait)
	defer cancel()
	if err := m.replays.Acquire(bounded, n); err != nil {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, fmt.Errorf("%w: no turn within %v", ErrBusy, turnWait)
	}
	m.used.Add(n)
	return n, nil
}

func (m *memory) release(n int64) {
	m.replays.Release(n)
	m.used.Add(-n)
}

// beginFill takes the memory for the fill of one hot tail, without waiting. It returns false
// if there is none: the replay then reads the log without a fill.
func (m *memory) beginFill() bool { return m.fills.TryAcquire(hotBytes) }

func (m *memory) endFill() { m.fills.Release(hotBytes) }

// A turnRequest is a subscription's place in the queue for replay memory.
type turnRequest struct {
	granted chan int64 // gets the bytes that the subscription has acquired
	cancel  context.CancelFunc
	done    sync.WaitGroup
}

// request queues for n bytes, and calls notify when they are acquired. The caller must end
// the request.
func (m *memory) request(n int64, notify func()) *turnRequest {
	n = min(n, m.size)
	ctx, cancel := context.WithCancel(context.Background())
	r := &turnRequest{granted: make(chan int64, 1), cancel: cancel}
	m.waiting.Add(1)
	r.done.Go(func() {
		defer m.waiting.Add(-1)
		if m.replays.Acquire(ctx, n) == nil {
			m.used.Add(n)
			r.granted <- n
			notify()
		}
	})
	return r
}

// take returns the bytes that were acquired, or 0 while the request waits.
func (r *turnRequest) take() int64 {
	select {
	case n := <-r.granted:
		return n
	default:
		return 0
	}
}

// end leaves the queue, and returns the bytes that were acquired meanwhile.
func (r *turnRequest) end() int64 {
	r.cancel()
	r.done.Wait()
	return r.take()
}

// tryAcquire is acquire without waiting. It returns 0 if there is too little memory.
func (m *memory) tryAcquire(n int64) int64 {
	n = min(n, m.size)
	if !m.replays.TryAcquire(n) {
		return 0
	}
	m.used.Add(n)
	return n
}

// firstThatFit returns how many of the first events fit into a number of events and of bytes
// of data. The first one always fits.
func firstThatFit(events []*streams.Event, most, mostBytes int) int {
	bytes := 0
	for i, e := range events[:min(most, len(events))] {
		if bytes += len(e.Data); bytes > mostBytes && i > 0 {
			return i
		}
	}
	return min(most, len(events))
}

// contended reports whether replays wait for memory.
func (m *memory) contended() bool { return m.waiting.Load() > 0 }

// hotSize returns about how much memory an event takes in a hot tail.
func hotSize(e *streams.Event) int { return entryBytes + formsOfData*len(e.Data) }

// hotShare returns the memory that one hot tail may take: any while the hot tails together
// are within their bound, and otherwise an equal part of it for each room.
func (m *memory) hotShare() int {
	if m.hot.Load() <= m.size {
		return int(m.size)
	}
	return int(m.size / max(m.rooms.Load(), 1))
}

// fits reports whether n more bytes fit into the bound of the hot tails.
func (m *memory) fits(n int) bool { return m.hot.Load()+int64(n) <= m.size }
