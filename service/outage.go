package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// outages numbers the periods in which at least one partition of the log does not answer
// this node. Each subscription reports a number once.
type outages struct {
	mu         sync.Mutex // guards the fields below
	partitions int        // that do not answer
	id         uint64     // of the current outage, or of the last one
}

func (o *outages) begin() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.partitions == 0 {
		o.id++
	}
	o.partitions++
}

func (o *outages) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.partitions--
}

func (o *outages) current() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.id
}

// A health records whether one partition of the log answers. It changes only by the
// outcome of calls that the node makes anyway. Its methods may be called concurrently.
type health struct {
	outages  *outages // of the node
	count    prometheus.Gauge
	logger   *slog.Logger
	onOutage func() // called when an outage begins

	down atomic.Bool // the log did not answer the last call
}

// record notes the outcome of a call, unless the caller gave it up: then ctx has ended.
func (h *health) record(ctx context.Context, err error) {
	switch {
	case err == nil:
		h.answered()
	case ctx.Err() == nil:
		h.failed(err)
	}
}

// answered notes that the log answers.
func (h *health) answered() {
	if h.down.Load() && h.down.CompareAndSwap(true, false) {
		h.outages.end()
		h.count.Dec()
		h.logger.Info("the log answers again")
	}
}

// failed notes that the log does not answer, if err says so.
func (h *health) failed(err error) {
	if !errors.Is(err, streams.ErrUnavailable) || !h.down.CompareAndSwap(false, true) {
		return
	}
	h.outages.begin()
	h.count.Inc()
	h.logger.Warn("the log does not answer; clients stay connected", "error", err)
	h.onOutage()
}

// outage returns the number of the current outage, or 0 while the log answers.
func (h *health) outage() uint64 {
	if !h.down.Load() {
		return 0
	}
	return h.outages.current()
}
