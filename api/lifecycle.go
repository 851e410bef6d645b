package api

import (
	"context"
	"sync/atomic"
)

// A lifecycle has the steps of a server's shutdown, in their order: announced tells load
// balancers and clients, draining refuses publishes and new connections, cut ends the
// requests that are left.
type lifecycle struct {
	announced               atomic.Bool
	draining, cut           context.Context
	beginDraining, beginCut context.CancelFunc
}

func newLifecycle() *lifecycle {
	l := &lifecycle{}
	l.draining, l.beginDraining = context.WithCancel(context.Background())
	l.cut, l.beginCut = context.WithCancel(context.Background())
	return l
}

// isDraining reports whether draining has begun.
func (l *lifecycle) isDraining() bool { return l.draining.Err() != nil }
