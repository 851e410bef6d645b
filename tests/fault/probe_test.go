package fault_test

import (
	"context"
	"time"
)

// measureRecovery measures how long each node takes, from this call, until it delivers live
// again on a standing connection. Call it when the node's Redis is back. An interruption of
// the node itself in the meantime voids its measurement.
func (w *system) measureRecovery(nodes ...*node) {
	since := w.now()
	done := make(chan struct{})
	for _, n := range nodes {
		interruptions := n.interruptions.Load()
		go func() {
			defer func() { done <- struct{}{} }()
			took, ok := w.awaitProbe(n, since)
			if ok && n.interruptions.Load() == interruptions && interruptions%2 == 1 { // odd: the process runs
				w.logf("%s delivers live again after %v", n.name, took.Round(time.Millisecond))
				longest(&w.counts.back, took)
			}
		}()
	}
	for range nodes {
		<-done
	}
}

// awaitProbe publishes a probe through a node and waits for it on the node's own
// connection.
func (w *system) awaitProbe(n *node, since time.Duration) (took time.Duration, ok bool) {
	m, ok := w.publishProbe(n)
	if !ok {
		return 0, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		if at, ok := n.probe.received(n.probe.tracks[0], m); ok {
			return at - since, true
		}
		w.rest(ctx, 5*time.Millisecond)
	}
	return 0, false
}

// received returns when the client received an event of one of its rooms in this round.
func (c *client) received(t *track, m mark) (at time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := t.got
	for i := len(got) - 1; i >= 0; i-- {
		if got[i].mark == m {
			return got[i].at, true
		}
	}
	return 0, false
}
