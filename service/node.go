package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

const (
	// openLimit bounds how long Subscribe waits for the feed and the log.
	openLimit = 10 * time.Second

	// feedLimit bounds how long the feed may confirm none of its pending joins before the
	// node reports that it is not ready. Without its feed, a node delivers no event that
	// other nodes publish.
	feedLimit = 5 * time.Second
)

// A Node publishes into a log and serves the connections of one process. All methods may
// be called concurrently.
type Node struct {
	log     streams.Log
	prober  streams.FeedProber // the log, if it implements it; else nil
	opts    Options
	metrics *metrics
	pumps   []*pump // by partition
	outages outages
	memory  *memory
}

// New returns a running node on log. Nil options mean the defaults. The log stays the
// caller's: close the node first, then the log.
func New(log streams.Log, o *Options) *Node {
	if o == nil {
		o = &Options{}
	}
	n := &Node{opts: o.withDefaults(), metrics: newMetrics(o.Metrics)}
	n.memory = newMemory(n.opts.ReplayMemory)
	n.metrics.observe(o.Metrics, n.memory)
	n.log = countedLog{log, n.metrics.logErrors}
	n.prober, _ = log.(streams.FeedProber)
	tracer := newTracer(n.opts.Tracing)
	for p := range log.Partitions() {
		part := newPartition(n.log, streams.Partition(p), &n.opts, n.metrics, &n.outages, n.memory)
		n.pumps = append(n.pumps, startPump(part, tracer))
	}
	return n
}

// Name returns the node's name.
func (n *Node) Name() string { return n.opts.Name }

// Close stops the node and waits for its goroutines. Close every subscription before.
func (n *Node) Close() {
	for _, p := range n.pumps {
		p.close()
	}
}

// Ready returns nil if the node can serve now, and otherwise the reason why not.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.log.Ping(ctx); err != nil {
		return fmt.Errorf("the log does not answer: %w", err)
	}
	for _, p := range n.pumps {
		if d := p.registry.stalled(); d > feedLimit {
			return fmt.Errorf("%w: live delivery of partition %d has waited for %v", streams.ErrUnavailable, p.id, d.Round(time.Second))
		}
	}
	return nil
}

// Publish sets the Retention and Trace of each draft, stores the drafts, and returns one
// receipt per draft, in their order: see streams.Log.Append. The node's own subscriptions
// receive the events from the log's feed, as those of every other node do.
func (n *Node) Publish(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	for i := range drafts {
		drafts[i].Retention = n.opts.retention(drafts[i].Room)
	}
	if n.opts.Tracing != nil {
		t := streams.TraceOf(ctx)
		for i := range drafts {
			drafts[i].Trace = t
		}
	}
	return n.log.Append(ctx, drafts)
}

// Probe returns how long a message took lately from the log's publish to this process: see
// streams.FeedProber. ok is false if the log does not measure it, or has not yet.
func (n *Node) Probe() (p streams.FeedProbe, ok bool) {
	if n.prober == nil {
		return streams.FeedProbe{}, false
	}
	return n.prober.FeedProbe()
}

// UnavailablePartitions returns how many partitions of the log did not answer the node's
// last call.
func (n *Node) UnavailablePartitions() (partitions int) {
	for _, p := range n.pumps {
		if p.health.down.Load() {
			partitions++
		}
	}
	return partitions
}

// Subscribe follows rooms, at least one, from start. The caller must call Next or Ready at
// once, and must close the subscription.
//
// notify is called when there are items to take, or an outage to report, after a batch
// without More was returned. It is called from any goroutine and under locks: it must not
// block, and must not call the subscription.
//
// Errors: ErrUnavailable if finding the start needs the log and the log does not answer
// within 10 s, ErrRoomsFull, or ctx's error.
func (n *Node) Subscribe(ctx context.Context, rooms []streams.Room, start replay.Start, notify func()) (*Subscription, error) {
	bounded, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	s := &Subscription{opts: &n.opts, metrics: n.metrics, memory: n.memory, notify: notify, notified: true}
	s.queue.shrink() // no other goroutine has the subscription yet
	n.metrics.subscriptions.Inc()
	for p, names := range byPartition(rooms, len(n.pumps)) {
		if len(names) == 0 {
			continue
		}
		ps, err := newPartitionSub(s, n.pumps[p].partition, names, start)
		s.parts = append(s.parts, ps)
		if err != nil {
			s.Close()
			return nil, err
		}
	}
	ids := make([]streams.ID, len(s.parts))
	for i, ps := range s.parts {
		if err := ps.open(bounded); err != nil {
			s.Close()
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: no answer within %v", streams.ErrUnavailable, openLimit)
			}
			return nil, err
		}
		ids[i] = ps.pos
	}
	s.initial = replay.CursorAt(ids...)
	return s, nil
}

// byPartition returns the rooms of each of n partitions, each room once.
func byPartition(rooms []streams.Room, n int) [][]streams.Room {
	parts := make([][]streams.Room, n)
	rooms = slices.Clone(rooms)
	slices.Sort(rooms)
	for _, r := range slices.Compact(rooms) {
		p := r.Partition(n)
		parts[p] = append(parts[p], r)
	}
	return parts
}
