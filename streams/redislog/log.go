package redislog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// Log is a streams.Log in Redis.
type Log struct {
	// Fixed by Open.
	opt        Options
	client     redis.UniversalClient
	metrics    *metrics
	partitions []*partition

	losses atomic.Uint64

	mu     sync.Mutex         // guards the fields below
	feeds  map[*feed]struct{} // not closed yet
	closed bool
}

var _ streams.Log = (*Log)(nil)

// Open returns the log that opt describes. A Redis that can't be reached is no
// error: the log joins it when it is there. Errors are those that waiting would
// not mend: settings that make no sense, ErrSettings, ErrTooOld, a Redis that does
// not let this user in, streams.ErrMismatch, and streams.ErrDurability for a default
// that it can't give.
func Open(ctx context.Context, opt Options) (*Log, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("redis log: %w", err)
	}
	client := connect(opt)
	l := &Log{opt: opt, client: client, metrics: newMetrics(), feeds: map[*feed]struct{}{}}
	l.metrics.watch(client)
	instrument(client, opt.Tracing)
	for p := range opt.Partitions {
		l.addPartition(newPartition(opt.Prefix, streams.Partition(p)).inDatabase(opt.place.db))
	}
	if err := l.firstCheck(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("redis log: %w", err), client.Close())
	}
	l.metrics.register(opt.Metrics, l)
	return l, nil
}

func (l *Log) addPartition(p *partition) {
	for n := range p.writers {
		p.writers[n] = newWriter(l, p, need(n))
	}
	l.partitions = append(l.partitions, p)
}

// firstCheck checks all partitions, and gives only permanent errors.
func (l *Log) firstCheck(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.opt.Timeout)
	defer cancel()
	need := l.needOf(&streams.Draft{Retention: streams.Retention{Events: 1}})
	err := l.eachPartition(func(p *partition) error {
		if err := l.ensure(ctx, p); err != nil {
			return err
		}
		return l.canGive(ctx, p, need)
	})
	if err == nil || permanent(err) {
		return err
	}
	l.opt.Logger.Warn("redis cannot be used yet; the log joins when it can", "error", err)
	return nil
}

// eachPartition runs check on all partitions at once and returns one of the errors.
func (l *Log) eachPartition(check func(*partition) error) error {
	errs := make([]error, len(l.partitions))
	var running sync.WaitGroup
	for i, p := range l.partitions {
		running.Go(func() { errs[i] = check(p) })
	}
	running.Wait()
	var first error
	for _, err := range errs {
		if first == nil || permanent(err) {
			first = err
		}
	}
	return first
}

// Partitions implements streams.Log.
func (l *Log) Partitions() int { return len(l.partitions) }

// Client returns the client of the log's Redis, for what else is kept there under
// Prefix. It is the log's: Close closes it. It never repeats a command by itself.
func (l *Log) Client() redis.UniversalClient { return l.client }

// Prefix returns what all keys begin with, after an opening brace.
func (l *Log) Prefix() string { return l.opt.Prefix }

// Losses counts how often this process has found that Redis lost events, and
// raised a floor for it.
func (l *Log) Losses() uint64 { return l.losses.Load() }

// Ping implements streams.Log. It looks for each partition whether its Redis
// takes writes, by one that changes nothing.
func (l *Log) Ping(ctx context.Context) error {
	ctx, cancel, err := l.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return reading(l.eachPartition(func(p *partition) error {
		if err := l.ensure(ctx, p); err != nil {
			return err
		}
		return l.explain(l.client.Persist(ctx, p.clock()).Err())
	}))
}

// Close implements streams.Log. Calls under way end within their time limit.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	feeds := make([]*feed, 0, len(l.feeds))
	for f := range l.feeds {
		feeds = append(feeds, f)
	}
	l.mu.Unlock()

	for _, f := range feeds {
		f.Close()
	}
	for _, p := range l.partitions {
		for _, w := range p.writers {
			w.running.Wait() // whoever waits for it does so no longer than a call may take
		}
	}
	return l.client.Close()
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// begin gives a call the log's time limit.
func (l *Log) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	return l.beginFor(ctx, l.opt.Timeout)
}

func (l *Log) beginFor(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc, error) {
	if l.isClosed() {
		return nil, nil, streams.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, nil
}

// explain is explain, for errors that a Close meanwhile may have caused.
func (l *Log) explain(err error) error {
	if err != nil && errors.Is(err, redis.ErrClosed) && l.isClosed() {
		return streams.ErrClosed
	}
	return explain(err)
}

// ensure returns once the partition's clock has been checked, by whomever.
func (l *Log) ensure(ctx context.Context, p *partition) error {
	if p.checked.Load() {
		return nil
	}
	select {
	case <-p.checking:
	case <-ctx.Done():
		return explain(ctx.Err())
	}
	defer func() { p.checking <- struct{}{} }()
	if p.checked.Load() {
		return nil
	}
	err := l.admit(ctx, p)
	p.checked.Store(err == nil)
	return err
}

// create makes sure that the partition has a clock that fits. One that is missing
// though this process knows of events means that Redis lost everything.
func (l *Log) create(ctx context.Context, p *partition) error {
	known := p.newestKnown()
	created, err := createScript.Run(ctx, l.client, []string{p.clock()},
		len(l.partitions), millis(l.opt.TailLife), position(known), p.channel("")).Int()
	if err != nil {
		return fmt.Errorf("partition %d: %w", p.id, l.explain(err))
	}
	if created == 1 && !known.IsZero() {
		l.noteLoss(p)
	}
	return nil
}

// noteLoss tells the operator that the floor of p was raised.
func (l *Log) noteLoss(p *partition) {
	l.losses.Add(1)
	known := p.newestKnown()
	l.opt.Logger.Warn("redis lost events that were logged; readers that may have missed some are told",
		"partition", p.id, "newest_known", known.String())
}

// withClock runs a script that needs the partition's clock, and creates the clock
// where it is missing.
func (l *Log) withClock(ctx context.Context, p *partition, run func() (any, error)) (any, error) {
	if err := l.ensure(ctx, p); err != nil {
		return nil, err
	}
	reply, err := run()
	if redis.HasErrorPrefix(err, errNoClock) {
		if err := l.create(ctx, p); err != nil {
			return nil, err
		}
		reply, err = run()
	}
	return reply, l.explain(err)
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
