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

// openLimit bounds how long Subscribe waits for the feed and the log.
const openLimit = 10 * time.Second

// feedLimit is how long the feed may announce nothing that it owes before the node
// is not ready: it would be an island, where nothing arrives that others publish.
const feedLimit = 5 * time.Second

// A Node publishes into a log and serves the connections of one process. All
// methods may be called concurrently.
type Node struct {
	log     streams.Log
	prober  streams.FeedProber // the log, if it is one; else nil
	opts    Options
	metrics *metrics
	pumps   []*pump // by partition
	outages outages
}

// New returns a running node on log, which stays the caller's: close the node
// first, then the log. nil options mean the defaults.
func New(log streams.Log, o *Options) *Node {
	if o == nil {
		o = &Options{}
	}
	n := &Node{opts: o.withDefaults(), metrics: newMetrics(o.Metrics)}
	n.log = countedLog{log, n.metrics.logErrors}
	n.prober, _ = log.(streams.FeedProber)
	for p := range log.Partitions() {
		n.pumps = append(n.pumps, newPump(n.log, streams.Partition(p), &n.opts, n.metrics, &n.outages))
	}
	return n
}

// Name returns the node's name.
func (n *Node) Name() string { return n.opts.Name }

// Close stops the node and waits for its goroutines. Subscriptions must have
// been closed before.
func (n *Node) Close() {
	for _, p := range n.pumps {
		p.close()
	}
}

// Ready reports whether the node can serve now: nil, or why not.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.log.Ping(ctx); err != nil {
		return fmt.Errorf("the log does not answer: %w", err)
	}
	for _, p := range n.pumps {
		if d := p.stuck(); d > feedLimit {
			return fmt.Errorf("%w: live delivery of partition %d has waited for %v", streams.ErrUnavailable, p.partition, d.Round(time.Second))
		}
	}
	return nil
}

// Publish stores drafts, whose Keep and Trace it fills in, and returns a receipt for each,
// in their order: see streams.Log.Append. Nothing is delivered ahead of the log:
// this node's own connections get the events as every other node's do.
func (n *Node) Publish(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	for i := range drafts {
		drafts[i].Retention = n.opts.retention(drafts[i].Room)
	}
	n.trace(ctx, drafts)
	return n.log.Append(ctx, drafts)
}

// Probe returns how long what is published through the log took lately to come back to
// this process: see streams.Prober. ok is false for a log that does not measure it, or
// has not yet.
func (n *Node) Probe() (p streams.FeedProbe, ok bool) {
	if n.prober == nil {
		return streams.FeedProbe{}, false
	}
	return n.prober.FeedProbe()
}

// UnavailablePartitions returns how many partitions of the log do not answer, as far as the node knows.
func (n *Node) UnavailablePartitions() (partitions int) {
	for _, p := range n.pumps {
		if p.away.Load() {
			partitions++
		}
	}
	return partitions
}

// Subscribe follows rooms (at least one) from start. notify is called, from any
// goroutine and under locks, whenever there is something to take after Next
// came back without More; it must not block nor call the subscription. The caller calls Next or
// Ready at once, and closes the subscription in the end.
//
// Errors: ErrUnavailable when the log is needed to find the start and does not
// answer within 10 s; or ctx's.
func (n *Node) Subscribe(ctx context.Context, rooms []streams.Room, start replay.Start, notify func()) (*Subscription, error) {
	bounded, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	s := &Subscription{node: n, notify: notify, notified: true}
	s.restLocked() // nobody else has it yet
	for p, names := range byPartition(rooms, len(n.pumps)) {
		if len(names) > 0 {
			s.legs = append(s.legs, newLeg(s, n.pumps[p], names, start))
		}
	}
	n.metrics.subscriptions.Inc()
	ids := make([]streams.ID, len(s.legs))
	for i, l := range s.legs {
		if err := l.open(bounded); err != nil {
			s.Close()
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				err = fmt.Errorf("%w: no answer within %v", streams.ErrUnavailable, openLimit)
			}
			return nil, err
		}
		ids[i] = l.pos
	}
	s.opening = replay.CursorAt(ids...)
	return s, nil
}

// byPartition returns the rooms of each partition, each room once.
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
