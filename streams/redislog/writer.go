package redislog

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxCall bounds the drafts that different callers have in one call of
	// appendScript, and maxCallBytes their data: Redis does nothing else meanwhile.
	// 256 drafts take it some 3 ms.
	maxCall      = 256
	maxCallBytes = 1 << 20

	// maxWaiting bounds the drafts that wait for a call, and maxWaitingBytes their
	// data. They take Redis a quarter of a second: only one that has stopped, or very
	// many batches at once, bring that about.
	maxWaiting      = 16 << 10
	maxWaitingBytes = 64 << 20

	// lanes is how many calls of one partition are under way at once: while Redis
	// runs one, the next is on its way to it.
	lanes = 2

	// waitingLanes is the same for calls that wait for replicas or the disk. With
	// appendfsync everysec each takes up to a second or more, which nobody should
	// have to wait for twice.
	waitingLanes = 4

	// A call that came to the wrong node, for a slot is on the move, is sent again
	// after firstResend, doubling to maxResend, within the log's time limit.
	firstResend = 5 * time.Millisecond
	maxResend   = 100 * time.Millisecond
)

// errFull: too much waits already. Nothing of this was stored.
var errFull = fmt.Errorf("%w: too many appends are waiting for Redis", streams.ErrUnavailable)

// A writer stores what is submitted for one partition at one level of durability.
// While its calls are under way, what comes in waits, and then goes together in
// the next call: the more publishers there are, the less each costs (100 µs for a
// lone event, 16 µs for each of 64 publishers'). It has a goroutine for each call that
// is under way, and none while there is nothing to do.
//
// go-redis's autopipelining would share the round trips only, and not the calls.
type writer struct {
	// Fixed by newWriter.
	log  *Log
	p    *partition
	need need
	most int // calls under way

	mu      sync.Mutex // guards the fields below
	waiting []*submission
	drafts  int // in waiting
	bytes   int // in waiting
	calls   int // under way

	running sync.WaitGroup // the lanes
}

// A submission is what one caller appends to one partition: stored in its order,
// in one call.
type submission struct {
	drafts   []streams.Draft // a copy: the caller may have given up and reuse its own
	bytes    int
	deadline time.Time         // when its caller gives up
	receipts []streams.Receipt // there when done is closed
	done     chan struct{}
}

func newWriter(l *Log, p *partition, n need) *writer {
	w := &writer{log: l, p: p, need: n, most: lanes}
	if n != 0 {
		w.most = waitingLanes
	}
	return w
}

// submit returns when s has its receipts, or an error if it never will: then it
// was not stored, or ctx ended while it was under way and it may have been.
func (w *writer) submit(ctx context.Context, s *submission) error {
	if err := w.add(s); err != nil {
		return err
	}
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		w.forget(s)
		return explain(ctx.Err())
	}
}

// add puts s in the line, and opens a lane if there is one left.
func (w *writer) add(s *submission) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) > 0 && (w.drafts+len(s.drafts) > maxWaiting || w.bytes+s.bytes > maxWaitingBytes) {
		return errFull
	}
	w.waiting = append(w.waiting, s)
	w.drafts += len(s.drafts)
	w.bytes += s.bytes
	if w.calls < w.most {
		w.calls++
		w.running.Go(w.lane)
	}
	return nil
}

// forget takes s out of the line, if it is still there.
func (w *writer) forget(s *submission) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.waiting {
		if w.waiting[i] == s {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			w.drafts -= len(s.drafts)
			w.bytes -= s.bytes
			return
		}
	}
}

// lane makes one call after the other until nothing waits.
func (w *writer) lane() {
	for {
		taken := w.take()
		if taken == nil {
			return
		}
		w.call(taken)
	}
}

// take returns what goes into the next call. If there is nothing, the lane is closed.
func (w *writer) take() []*submission {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.waiting) == 0 {
		w.calls--
		w.waiting = nil
		return nil
	}
	n, drafts, bytes := 0, 0, 0
	for _, s := range w.waiting {
		if n > 0 && (drafts+len(s.drafts) > maxCall || bytes+s.bytes > maxCallBytes) {
			break
		}
		n++
		drafts += len(s.drafts)
		bytes += s.bytes
	}
	taken := w.waiting[:n:n]
	w.waiting = w.waiting[n:]
	w.drafts -= drafts
	w.bytes -= bytes
	return taken
}

// call stores what was taken, within the log's time limit, and hands out receipts.
func (w *writer) call(taken []*submission) {
	limit := w.log.opt.Timeout
	if w.need != 0 {
		limit *= waitingFactor
	}
	ctx, cancel := context.WithTimeout(w.log.within(taken), limit)
	defer cancel()
	var drafts []*streams.Draft
	deadline := taken[0].deadline
	for _, s := range taken {
		for i := range s.drafts {
			drafts = append(drafts, &s.drafts[i])
		}
		if s.deadline.Before(deadline) {
			deadline = s.deadline
		}
	}
	receipts := w.store(ctx, drafts, deadline)
	for _, s := range taken {
		s.receipts = receipts[:len(s.drafts):len(s.drafts)]
		receipts = receipts[len(s.drafts):]
		close(s.done)
	}
}

func (w *writer) store(ctx context.Context, drafts []*streams.Draft, deadline time.Time) []streams.Receipt {
	if err := w.log.canGive(ctx, w.p, w.need); err != nil {
		return w.p.receipts(drafts, nil, err)
	}
	seen := w.p.sightings()
	words := w.log.appendCall(w.p, seen, drafts)
	var missed missed
	reply, err := w.log.withClock(ctx, w.p, func() (reply any, err error) {
		reply, missed, err = w.send(ctx, words, deadline)
		return reply, err
	})
	if said, _ := reply.([]any); len(said) > 0 && said[0] == int64(1) {
		w.log.noteLoss(w.p)
	}
	receipts := w.p.receipts(drafts, reply, err)
	if err == nil {
		w.p.looked(seen, newestStored(drafts, receipts))
	}
	for i, d := range drafts {
		missed.settle(&receipts[i], w.log.wanted(d))
	}
	return receipts
}

// send runs appendScript, and waits for what its drafts need, on one connection to
// the partition's master: WAIT counts from the connection's own last write. The
// script runs at most once: it is sent again only where Redis says that it has not
// run it.
func (w *writer) send(ctx context.Context, words []any, deadline time.Time) (reply any, m missed, err error) {
	words[0], words[1] = "evalsha", appendScript.Hash()
	again := backoff{first: firstResend, most: maxResend}
	for {
		node, err := w.log.master(ctx, w.p)
		if err != nil {
			return nil, missed{}, err
		}
		reply, m, err = w.sendTo(ctx, node, words, deadline)
		if redis.HasErrorPrefix(err, "NOSCRIPT") {
			words[0], words[1] = "eval", appendScript.source
			continue
		}
		w.log.doubt(ctx, err)
		if !moving(err) || again.wait(ctx) != nil {
			return reply, m, err
		}
	}
}

// sendTo sends to one node, once.
func (w *writer) sendTo(ctx context.Context, node *redis.Client, words []any, deadline time.Time) (reply any, m missed, err error) {
	eval := once{redis.NewCmd(ctx, words...)}
	if w.need == 0 {
		err := node.Process(ctx, eval)
		return eval.Val(), m, err
	}
	pipe := node.Pipeline()
	_ = pipe.Process(ctx, eval)
	waits := w.need.waits(ctx, w.log.opt.Replicas, deadline)
	for _, wait := range waits {
		_ = pipe.Process(ctx, wait.cmd)
	}
	_, _ = pipe.Exec(ctx) // each command has an error of its own
	if err := eval.Err(); err != nil {
		return nil, m, err
	}
	for _, wait := range waits {
		m[wait.level] = wait.failure()
	}
	return eval.Val(), m, nil
}
