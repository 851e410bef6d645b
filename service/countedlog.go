package service

import (
	"context"
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// The operations of a log, as label values of a metric.
const (
	opAppend     = "append"
	opWatermarks = "edges"
	opRead       = "read"
	opPing       = "ping"
)

// A countedLog counts the failed calls of a log. A call for several events counts once.
type countedLog struct {
	streams.Log
	failures *prometheus.CounterVec // operation
}

func (l countedLog) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	receipts := l.Log.Append(ctx, drafts)
	if i := slices.IndexFunc(receipts, func(r streams.Receipt) bool { return isFailure(r.Err) }); i >= 0 {
		l.count(opAppend, receipts[i].Err)
	}
	return receipts
}

func (l countedLog) Watermarks(ctx context.Context, p streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	w, err := l.Log.Watermarks(ctx, p, rooms)
	l.count(opWatermarks, err)
	return w, err
}

func (l countedLog) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	page, err := l.Log.After(ctx, room, after, through, limit)
	l.count(opRead, err)
	return page, err
}

func (l countedLog) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	page, err := l.Log.Before(ctx, room, before, limit)
	l.count(opRead, err)
	return page, err
}

func (l countedLog) Ping(ctx context.Context) error {
	err := l.Log.Ping(ctx)
	l.count(opPing, err)
	return err
}

func (l countedLog) count(operation string, err error) {
	if isFailure(err) {
		l.failures.WithLabelValues(operation).Inc()
	}
}

// isFailure reports whether err is a failure of the log. A publisher's mistake, a caller that
// gave up, and a closing node are not.
func isFailure(err error) bool {
	return err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, streams.ErrClosed) &&
		!errors.Is(err, streams.ErrKeyReused) && !errors.Is(err, streams.ErrDurability)
}
