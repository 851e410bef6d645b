package redislog

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// Log is a streams.Log in Redis.
type Log struct {
	// Fixed by Open.
	*store
	writers [][needs]*writer // by partition, and by the need of their appends

	mu    sync.Mutex         // guards feeds, and the change of closed
	feeds map[*feed]struct{} // not closed yet
}

var (
	_ streams.Log        = (*Log)(nil)
	_ streams.FeedProber = (*Log)(nil)
)

// Open returns the log that opt describes. It does not fail if Redis is unreachable: the
// log connects once Redis answers.
//
// It fails if waiting would not help: invalid settings, ErrSettings, ErrTooOld, a Redis
// that rejects the user or the certificate, streams.ErrMismatch, or streams.ErrDurability
// if Redis cannot give the default durability.
func Open(ctx context.Context, opt Options) (*Log, error) {
	opt, conn, err := opt.Resolve()
	if err != nil {
		return nil, err
	}
	l := &Log{store: newStore(opt, conn), feeds: map[*feed]struct{}{}}
	for _, p := range l.partitions {
		var writers [needs]*writer
		for n := range writers {
			writers[n] = newWriter(l.store, p, need(n))
		}
		l.writers = append(l.writers, writers)
	}
	if err := l.firstCheck(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("redis: %w", err), l.client.Close())
	}
	l.metrics.register(opt.Metrics, l.Losses)
	return l, nil
}

// firstCheck checks all partitions, and returns only permanent errors.
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
	if err == nil || rediserr.Permanent(err) {
		return err
	}
	l.opt.Logger.Warn("redis cannot be used yet; the node is not ready and tries again", "error", err)
	return nil
}

// Partitions implements streams.Log.
func (l *Log) Partitions() int { return len(l.partitions) }

// Client returns the client of the log's Redis, for other data that is kept there under
// Prefix. Close closes it. It never repeats a command by itself.
func (l *Log) Client() redis.UniversalClient { return l.client }

// Prefix returns the prefix of all keys, which follows an opening brace.
func (l *Log) Prefix() string { return l.opt.Prefix }

// Losses returns how often this process has found that Redis lost events, and has raised
// a floor.
func (l *Log) Losses() uint64 { return l.losses.Load() }

// Ping implements streams.Log. It checks for each partition that its Redis accepts
// writes, with a write that changes nothing.
func (l *Log) Ping(ctx context.Context) error {
	ctx, cancel, err := l.begin(ctx, l.opt.Timeout)
	if err != nil {
		return err
	}
	defer cancel()
	return rediserr.Reading(l.eachPartition(func(p *partition) error {
		if err := l.ensure(ctx, p); err != nil {
			return err
		}
		return l.explain(l.client.Persist(ctx, p.Clock()).Err())
	}))
}

// Feed implements streams.Log. The feed of a closed log is closed.
func (l *Log) Feed(p streams.Partition) streams.Feed {
	f := newFeed(l.store, l.partitions[p], l.removeFeed)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		f.cancel()
	} else {
		l.feeds[f] = struct{}{}
	}
	f.running.Go(f.run)
	return f
}

func (l *Log) removeFeed(f *feed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.feeds, f)
}

// FeedProbe implements streams.FeedProber.
func (l *Log) FeedProbe() (slowest streams.FeedProbe, ok bool) {
	for _, p := range l.partitions {
		switch last := p.probe.Load(); {
		case last == nil:
			return streams.FeedProbe{}, false
		case last.Lag >= slowest.Lag:
			slowest = *last
		}
	}
	return slowest, true
}

// Close implements streams.Log. Running calls end within their time limit.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed.Swap(true) {
		l.mu.Unlock()
		return nil
	}
	feeds := make([]*feed, 0, len(l.feeds))
	for f := range l.feeds {
		feeds = append(feeds, f)
	}
	l.mu.Unlock()

	for _, f := range feeds {
		f.Close()
	}
	for _, writers := range l.writers {
		for _, w := range writers {
			w.running.Wait() // each call has a time limit
		}
	}
	return l.client.Close()
}
