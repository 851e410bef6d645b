package redislog

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/internal/backoff"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

const (
	// maxCall bounds the drafts of different callers in one call of scripts.Append, and
	// maxCallBytes their bytes. Redis does nothing else during a call. 256 drafts take it
	// about 3 ms.
	maxCall      = 256
	maxCallBytes = 1 << 20

	// maxQueued bounds the drafts that wait for a call of one writer. Redis needs about a
	// quarter of a second for them. Only a Redis that has stopped, or very many batches at
	// once, fill the queue. maxQueuedBytes bounds the memory of the drafts that wait in all
	// writers of the log, which has four for each partition.
	maxQueued      = 16 << 10
	maxQueuedBytes = 64 << 20

	// draftBytes is the memory of a draft in a queue, without its texts and its data.
	draftBytes = 256

	// maxCalls bounds the concurrent calls of one partition. While Redis runs one call,
	// the next one is on its way.
	maxCalls = 2

	// maxWaitingCalls is the same for calls that wait for replicas or the disk. With
	// appendfsync everysec each takes a second or more. Four calls keep a publisher from
	// waiting for the disk twice.
	maxWaitingCalls = 4

	// While a slot moves, a call may reach the wrong node. The writer sends it again after
	// firstResend, doubling up to maxResend, within the log's time limit.
	firstResend = 5 * time.Millisecond
	maxResend   = 100 * time.Millisecond
)

// errFull reports a full queue. Nothing of the submission was stored.
var errFull = fmt.Errorf("%w: too many appends are waiting for Redis; retry later", streams.ErrUnavailable)

// A writer stores the submissions for one partition with one need. While its calls run,
// new submissions wait in a queue and then share the next call. So an event costs less
// under load: 100 µs for a single publisher, 16 µs each for 64 publishers. A writer has one
// goroutine for each running call, and none when it is idle.
//
// go-redis's autopipelining would share the round trips only, and not the calls.
type writer struct {
	// Fixed by newWriter.
	store    *store
	p        *partition
	need     need
	maxCalls int

	mu     sync.Mutex // guards the fields below
	queue  []*submission
	drafts int // in queue
	calls  int // running

	running sync.WaitGroup // the run goroutines
}

// A submission is one caller's drafts for one partition. One call stores them, in order.
type submission struct {
	drafts   []streams.Draft   // a copy, because the caller may give up and reuse its own
	bytes    int               // of memory that the drafts hold
	deadline time.Time         // when the caller gives up
	receipts []streams.Receipt // set before done is closed
	done     chan struct{}
}

func newWriter(s *store, p *partition, n need) *writer {
	w := &writer{store: s, p: p, need: n, maxCalls: maxCalls}
	if n != 0 {
		w.maxCalls = maxWaitingCalls
	}
	return w
}

// submit waits until s has its receipts. After an error s never gets them. Then s was not
// stored, or ctx ended during the call and s may have been stored.
func (w *writer) submit(ctx context.Context, s *submission) error {
	if err := w.enqueue(s); err != nil {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		w.withdraw(s)
		return rediserr.Explain(ctx.Err())
	}
}

// enqueue adds s to the queue, and starts a goroutine unless maxCalls are running.
func (w *writer) enqueue(s *submission) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) > 0 && w.drafts+len(s.drafts) > maxQueued {
		return errFull
	}
	// A submission that alone exceeds the bytes is accepted if no other waits.
	if all := w.store.queued.Add(int64(s.bytes)); all > maxQueuedBytes && all > int64(s.bytes) {
		w.store.queued.Add(-int64(s.bytes))
		return errFull
	}
	w.queue = append(w.queue, s)
	w.drafts += len(s.drafts)
	if w.calls < w.maxCalls {
		w.calls++
		w.running.Go(w.run)
	}
	return nil
}

// withdraw removes s from the queue, if it is still there.
func (w *writer) withdraw(s *submission) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.queue {
		if w.queue[i] == s {
			w.queue = slices.Delete(w.queue, i, i+1)
			w.drafts -= len(s.drafts)
			w.store.queued.Add(-int64(s.bytes))
			return
		}
	}
}

// run makes one call after the other until the queue is empty.
func (w *writer) run() {
	for {
		batch := w.dequeue()
		if batch == nil {
			return
		}
		w.call(batch)
	}
}

// dequeue returns the submissions of the next call. If the queue is empty it returns nil,
// and the calling goroutine must end.
func (w *writer) dequeue() []*submission {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.calls--
		w.queue = nil
		return nil
	}
	n, drafts, bytes := 0, 0, 0
	for _, s := range w.queue {
		if n > 0 && (drafts+len(s.drafts) > maxCall || bytes+s.bytes > maxCallBytes) {
			break
		}
		n++
		drafts += len(s.drafts)
		bytes += s.bytes
	}
	batch := w.queue[:n:n]
	w.queue = w.queue[n:]
	w.drafts -= drafts
	w.store.queued.Add(-int64(bytes))
	return batch
}

// call stores a batch within the log's time limit, and hands out the receipts.
func (w *writer) call(batch []*submission) {
	ctx, cancel := context.WithTimeout(w.traceContext(batch), w.store.limitOf(w.need))
	defer cancel()
	var drafts []*streams.Draft
	deadline := batch[0].deadline
	for _, s := range batch {
		for i := range s.drafts {
			drafts = append(drafts, &s.drafts[i])
		}
		if s.deadline.Before(deadline) {
			deadline = s.deadline
		}
	}
	receipts := w.storeAll(ctx, drafts, deadline)
	for _, s := range batch {
		s.receipts = receipts[:len(s.drafts):len(s.drafts)]
		receipts = receipts[len(s.drafts):]
		close(s.done)
	}
	clear(batch) // the queue may still have the array
}

// traceContext returns a context in the trace of the first submission that has one. The
// other submissions share the call and get no span.
func (w *writer) traceContext(batch []*submission) context.Context {
	ctx := context.Background()
	if w.store.opt.Tracing == nil {
		return ctx
	}
	for _, s := range batch {
		if t := s.drafts[0].Trace; t != "" { // the drafts of one publish share their trace
			return t.Within(ctx)
		}
	}
	return ctx
}

// storeAll stores drafts, and waits for their durability until deadline.
func (w *writer) storeAll(ctx context.Context, drafts []*streams.Draft, deadline time.Time) []streams.Receipt {
	if err := w.store.canGive(ctx, w.p, w.need); err != nil {
		return w.p.receipts(drafts, nil, err)
	}
	known := w.p.knownEvents()
	words := w.store.appendCall(w.p, known, drafts)
	var u unreached
	reply, err := w.store.withClock(ctx, w.p, func() (reply any, err error) {
		reply, u, err = w.send(ctx, words, deadline)
		return reply, err
	})
	if results, _ := reply.([]any); len(results) > 0 && results[0] == int64(1) {
		w.store.countLoss(w.p)
	}
	receipts := w.p.receipts(drafts, reply, err)
	if err == nil {
		w.p.confirmed(known, newestStored(drafts, receipts))
	}
	for i, d := range drafts {
		u.complete(&receipts[i], w.store.wanted(d))
	}
	return receipts
}

// send runs scripts.Append and waits for the need. Both go over one connection to the
// partition's primary, because WAIT counts from the last write of its own connection. The
// script runs at most once: send repeats the call only if Redis reports that it did not run.
func (w *writer) send(ctx context.Context, words []any, deadline time.Time) (reply any, u unreached, err error) {
	words[0], words[1] = "evalsha", scripts.Append.Hash()
	resend := backoff.Backoff{First: firstResend, Max: maxResend}
	for {
		node, err := w.store.primary(ctx, w.p)
		if err != nil {
			return nil, unreached{}, err
		}
		reply, u, err = w.sendTo(ctx, node, words, deadline)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			words[0], words[1] = "eval", scripts.Append.Source
			continue
		}
		w.store.reloadSlots(ctx, err)
		if !rediserr.Redirected(err) || resend.Wait(ctx) != nil {
			return reply, u, err
		}
	}
}

// sendTo sends the call to one node, once.
func (w *writer) sendTo(ctx context.Context, node *redis.Client, words []any, deadline time.Time) (reply any, u unreached, err error) {
	eval := once{redis.NewCmd(ctx, words...)}
	if w.need == 0 {
		err := node.Process(ctx, eval)
		return eval.Val(), u, err
	}
	pipe := node.Pipeline()
	_ = pipe.Process(ctx, eval)
	waits := w.need.waits(ctx, w.store.opt.Replicas, deadline)
	for _, wait := range waits {
		_ = pipe.Process(ctx, wait.cmd)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	if err := eval.Err(); err != nil {
		return nil, u, err
	}
	for _, wait := range waits {
		u[wait.level] = wait.failure()
	}
	return eval.Val(), u, nil
}
