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
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/streams/redislog/internal/permissions"
	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// A store is what a log, its writers and its feeds share: the client and the partitions.
type store struct {
	// Fixed by newStore.
	opt        Options
	conn       *redisconn.Config
	client     redis.UniversalClient
	metrics    *metrics
	partitions []*partition
	replies    *replies

	queued atomic.Int64 // bytes in the queues of all writers
	losses atomic.Uint64
	closed atomic.Bool
}

// newStore does not connect yet. opt must be resolved.
func newStore(opt Options, conn *redisconn.Config) *store {
	s := &store{opt: opt, conn: conn, client: conn.NewClient(), metrics: newMetrics(), replies: newReplies()}
	s.metrics.watch(s.client)
	instrument(s.client, opt.Tracing)
	for id := range opt.Partitions {
		s.partitions = append(s.partitions, newPartition(keys.New(opt.Prefix, streams.Partition(id), conn.Endpoint.DB)))
	}
	return s
}

func (s *store) partition(room streams.Room) *partition {
	return s.partitions[room.Partition(len(s.partitions))]
}

// eachPartition runs check on all partitions at once. It returns one of the errors, a
// permanent one if there is any.
func (s *store) eachPartition(check func(*partition) error) error {
	errs := make([]error, len(s.partitions))
	var running sync.WaitGroup
	for i, p := range s.partitions {
		running.Go(func() { errs[i] = check(p) })
	}
	running.Wait()
	var first error
	for _, err := range errs {
		if first == nil || rediserr.Permanent(err) {
			first = err
		}
	}
	return first
}

// begin limits a call to limit. It returns an error if the log is closed or ctx has ended.
func (s *store) begin(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc, error) {
	if s.closed.Load() {
		return nil, nil, streams.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return nil, nil, rediserr.Explain(err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	return ctx, cancel, nil
}

// explain is rediserr.Explain for errors that may come from a concurrent Close.
func (s *store) explain(err error) error {
	if err != nil && errors.Is(err, redis.ErrClosed) && s.closed.Load() {
		return streams.ErrClosed
	}
	return rediserr.Explain(err)
}

// ensure returns nil once the partition has passed its check. Concurrent callers share one
// check, which goes on if one of them gives up.
func (s *store) ensure(ctx context.Context, p *partition) error {
	if p.checked.Load() {
		return nil
	}
	checking := p.checks.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opt.Timeout)
		defer cancel()
		return nil, s.check(ctx, p)
	})
	select {
	case result := <-checking:
		return result.Err
	case <-ctx.Done():
		return rediserr.Explain(ctx.Err())
	}
}

// check checks a partition before its first use: the topology, the user's permissions, and
// a clock that fits. Otherwise a mistake would show at the first event or never, because a
// feed without a permission just retries.
func (s *store) check(ctx context.Context, p *partition) error {
	if p.checked.Load() {
		return nil
	}
	if err := s.conn.CheckTopology(ctx, s.client, p.Clock()); err != nil {
		return s.explain(err)
	}
	if err := permissions.Check(ctx, s.client, &p.Partition, s.opt.Durability, s.opt.RequiredCommands); err != nil {
		return fmt.Errorf("partition %d: %w", p.ID, err)
	}
	if err := s.create(ctx, p); err != nil {
		return err
	}
	p.checked.Store(true)
	return nil
}

// create makes sure that the partition has a clock that fits. If the clock is missing
// although this process knows events, Redis has lost everything.
func (s *store) create(ctx context.Context, p *partition) error {
	known := p.newestKnown()
	created, err := scripts.Create.Run(ctx, s.client, []string{p.Clock()},
		len(s.partitions), millis(s.opt.TailLife), entry.Position(known), p.Channel("")).Int()
	if err != nil {
		return fmt.Errorf("partition %d: %w", p.ID, s.explain(err))
	}
	if created == 1 && !known.IsZero() {
		s.countLoss(p)
	}
	return nil
}

// withClock runs a script that needs the partition's clock. If the clock is missing, it
// creates the clock and runs the script again.
func (s *store) withClock(ctx context.Context, p *partition, run func() (any, error)) (any, error) {
	if err := s.ensure(ctx, p); err != nil {
		return nil, err
	}
	reply, err := run()
	if redis.HasErrorPrefix(err, scripts.NoClock) {
		if err := s.create(ctx, p); err != nil {
			return nil, err
		}
		reply, err = run()
	}
	return reply, s.explain(err)
}

// countLoss counts and logs that the floor of p was raised.
func (s *store) countLoss(p *partition) {
	s.losses.Add(1)
	s.opt.Logger.Warn("redis lost events that were logged; clients that may have missed some get a gap notice",
		"partition", p.ID, "newest_known", p.newestKnown().String())
}

// primary returns a client of the node that takes the writes of p, as far as known.
func (s *store) primary(ctx context.Context, p *partition) (*redis.Client, error) {
	return redisconn.Primary(ctx, s.client, p.Clock())
}

// reloadSlots makes a Cluster client read again which node has which slot, if err hints
// that slots have moved.
func (s *store) reloadSlots(ctx context.Context, err error) {
	if err == nil {
		return
	}
	cluster, ok := s.client.(*redis.ClusterClient)
	if ok && (rediserr.Redirected(err) || redis.HasErrorPrefix(err, "READONLY") || errors.Is(rediserr.Explain(err), streams.ErrUnavailable)) {
		cluster.ReloadState(ctx)
	}
}

func millis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
