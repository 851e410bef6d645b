package redislog

import (
	"errors"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// idleWriters returns n writers of one log that make no calls.
func idleWriters(n int) []*writer {
	s := &store{}
	writers := make([]*writer, n)
	for i := range writers {
		writers[i] = newWriter(s, nil, 0)
		writers[i].maxCalls = 0
	}
	return writers
}

func waiting(drafts, bytes int) *submission {
	return &submission{drafts: make([]streams.Draft, drafts), bytes: bytes}
}

// fill adds copies of a submission to the queue until it is full, and returns their number.
func fill(t *testing.T, w *writer, drafts, bytes int) int {
	t.Helper()
	for n := range 2 * maxQueued {
		if err := w.enqueue(waiting(drafts, bytes)); err != nil {
			if !errors.Is(err, errFull) || !errors.Is(err, streams.ErrUnavailable) {
				t.Errorf("a full queue: %v", err)
			}
			return n
		}
	}
	t.Fatal("the queue has no bound")
	return 0
}

// While Redis does not answer, the queues of all writers together are bounded in bytes, and
// each in drafts. A submission that leaves a queue makes room for another.
func TestQueueIsBounded(t *testing.T) {
	const big = 1 << 20
	writers := idleWriters(3)
	n := fill(t, writers[0], 10, big) + fill(t, writers[1], 10, big)
	if n != maxQueuedBytes/big {
		t.Errorf("%d submissions of %d bytes wait, want %d", n, big, maxQueuedBytes/big)
	}
	if err := writers[2].enqueue(waiting(1, big)); !errors.Is(err, errFull) {
		t.Errorf("a third writer of the same log: %v, want errFull", err)
	}
	left := writers[0].queue[3]
	writers[0].withdraw(left)
	writers[0].withdraw(left)
	if err := writers[2].enqueue(waiting(1, big)); err != nil {
		t.Errorf("after a caller has given up: %v", err)
	}
	for _, w := range writers {
		for w.dequeue() != nil {
		}
	}
	if got := writers[0].store.queued.Load(); got != 0 {
		t.Errorf("%d bytes in empty queues", got)
	}

	w := idleWriters(1)[0]
	if n := fill(t, w, 10, 1); n != maxQueued/10 {
		t.Errorf("%d drafts wait, want %d", 10*n, maxQueued)
	}
}

// A batch that alone exceeds the bounds is accepted if no other waits.
func TestQueueAcceptsOneLargeBatch(t *testing.T) {
	w := idleWriters(1)[0]
	if err := w.enqueue(waiting(2*maxQueued, 2*maxQueuedBytes)); err != nil {
		t.Errorf("an empty queue: %v", err)
	}
	if err := w.enqueue(waiting(1, 1)); !errors.Is(err, errFull) {
		t.Errorf("behind it: %v, want errFull", err)
	}
}

// A queue forgets a submission whose caller has given up, and one that has its receipts.
func TestQueueForgetsDrafts(t *testing.T) {
	w := idleWriters(1)[0]
	for range 3 {
		if err := w.enqueue(waiting(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	array := w.queue[:3]
	w.withdraw(array[1])
	if array[2] != nil {
		t.Error("the queue keeps a submission whose caller has given up")
	}

	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	s := &submission{drafts: []streams.Draft{draft("r", "1")}, deadline: time.Now().Add(waitLimit), done: make(chan struct{})}
	batch := []*submission{s}
	l.writers[0][0].call(batch)
	if <-s.done; s.receipts[0].Err != nil || batch[0] != nil {
		t.Errorf("receipt %+v, and the queue keeps %v", s.receipts[0], batch[0])
	}
}
