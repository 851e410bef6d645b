package redislog

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// master returns a client of the node that takes the writes of p, as far as known.
func (l *Log) master(ctx context.Context, p *partition) (*redis.Client, error) {
	if cluster, ok := l.client.(*redis.ClusterClient); ok {
		return cluster.MasterForKey(ctx, p.clock())
	}
	return l.client.(*redis.Client), nil
}

// doubt makes a Cluster client look again which node has which slot, if err hints
// that they have changed.
func (l *Log) doubt(ctx context.Context, err error) {
	cluster, ok := l.client.(*redis.ClusterClient)
	if ok && (moving(err) || redis.HasErrorPrefix(err, "READONLY") || errors.Is(explain(err), streams.ErrUnavailable)) {
		cluster.ReloadState(ctx)
	}
}

// moving reports whether err says that a slot is not, or not all, where the
// command was sent, so that it did not run. It will be soon.
func moving(err error) bool {
	for _, prefix := range []string{"MOVED", "ASK", "TRYAGAIN"} {
		if redis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// A backoff is a series of waits: the first up to first, each later one twice as
// long, up to most; each from half of it up to all of it, so that those who failed
// together do not come back together.
type backoff struct {
	first, most time.Duration
	next        time.Duration
}

// wait returns nil after the next wait, or ctx's error.
func (b *backoff) wait(ctx context.Context) error {
	b.next = min(max(b.next, b.first), b.most)
	timer := time.NewTimer(b.next/2 + rand.N(b.next/2+1))
	defer timer.Stop()
	b.next *= 2
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reset makes the next wait the first one again.
func (b *backoff) reset() { b.next = 0 }
