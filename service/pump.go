package service

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A pump is the goroutine that delivers the events of one partition from its feed to the
// rooms of this node. Events that the feed has lost are read from the log, before any
// later event of the partition is delivered. A second goroutine runs the tail check.
type pump struct {
	*partition

	// Fixed by startPump.
	tracer trace.Tracer // nil without tracing
	stop   context.CancelFunc
	done   sync.WaitGroup

	checks chan tailCheck // from the tail check; holds one, and drops more
	ping   chan struct{}  // holds a token while the tail check is to ping the log

	// Owned by run.
	recovering bool           // the feed was lost; live events are ignored
	rejoining  map[*room]bool // rooms with a known position that the feed has not joined again
	lastCheck  *tailCheck     // of one period ago; nil if none
}

func startPump(part *partition, tracer trace.Tracer) *pump {
	ctx, stop := context.WithCancel(context.Background())
	p := &pump{
		partition: part,
		tracer:    tracer,
		stop:      stop,
		checks:    make(chan tailCheck, 1),
		ping:      make(chan struct{}, 1),
		rejoining: make(map[*room]bool),
	}
	p.done.Go(func() { p.run(ctx) })
	p.done.Go(func() { p.runTailChecks(ctx) })
	return p
}

// close ends the pump and its feed, and waits for both.
func (p *pump) close() {
	p.stop()
	p.feed.Close()
	p.done.Wait()
}

// run is the pump's loop. It alone delivers events.
func (p *pump) run(ctx context.Context) {
	sweep := time.NewTicker(p.opts.CheckEvery)
	defer sweep.Stop()
	messages := p.feed.Messages()
	for {
		select {
		case m, ok := <-messages:
			if !ok {
				return
			}
			p.handle(ctx, m)
		case c := <-p.checks:
			p.compare(ctx, c)
		case <-sweep.C:
			p.sweep()
			p.tryRecover(ctx) // a room that had to rejoin may have been left
		case <-ctx.Done():
			return
		}
	}
}

func (p *pump) handle(ctx context.Context, m streams.FeedMessage) {
	switch {
	case m.Lost:
		p.handleLost()
		select {
		case p.ping <- struct{}{}: // the log may not answer either
		default:
		}
		p.tryRecover(ctx)
	case m.Event != nil:
		p.handleEvent(ctx, m.Event)
	default:
		p.handleJoined(m.Joined, m.Ticket)
		p.tryRecover(ctx)
	}
}

// handleEvent delivers a live event, after the events that are missing before it.
func (p *pump) handleEvent(ctx context.Context, e *streams.Event) {
	if p.recovering {
		return // the recovery reads it from the log, in its order
	}
	r := p.registry.lookup(e.Room)
	if r == nil {
		return
	}
	switch r.classify(e) {
	case deliver:
		p.deliver(r, e, true)
	case repair:
		p.logger.Info("the live feed skipped events; reading them from the log", "room", e.Room, "before", e.ID)
		p.repair(ctx, causeHole, func() error { return p.readHole(ctx, r, e.ID) })
	}
}

// handleLost stops live delivery until the feed has joined every room again.
func (p *pump) handleLost() {
	p.metrics.feedLosses.Inc()
	p.logger.Debug("live feed lost") // the log package logs the reason
	p.recovering, p.lastCheck = true, nil
	clear(p.rejoining)
	for _, r := range p.registry.feedLost() {
		p.rejoining[r] = true
	}
}

// handleJoined notes that the feed carries a room.
func (p *pump) handleJoined(name streams.Room, ticket uint64) {
	if r := p.registry.feedJoined(name, ticket); r != nil {
		delete(p.rejoining, r)
		r.feedJoined(!p.recovering)
	}
}

// sweep leaves unused rooms and lets go of them.
func (p *pump) sweep() {
	empty := p.registry.sweep()
	for r := range p.rejoining {
		if r.isGone() {
			delete(p.rejoining, r)
		}
	}
	if empty {
		p.lastCheck = nil // no later check would replace it, and it holds rooms
	}
}

// deliver stores e in its room and offers it to the room's members. live says that e is from
// the feed, not from the log.
func (p *pump) deliver(r *room, e *streams.Event, live bool) {
	p.metrics.received.Inc()
	span := startDelivery(p.tracer, e)
	r.fanOut(p.store(r, e, live), e)
	if span != nil {
		endDelivery(span, r.size())
	}
}

func (p *pump) store(r *room, e *streams.Event, live bool) []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	if live {
		p.handled = streams.Later(p.handled, e.ID)
	}
	late := e.ID.Before(p.pos)
	p.pos = streams.Later(p.pos, e.ID)
	return r.store(e, late, p.opts.Hot)
}

func (p *pump) deliverGap(r *room, it replay.Item) {
	p.logger.Warn("events are missing from the log; clients receive a gap notice", "room", r.name,
		"reason", it.Gap.Reason, "after", it.Gap.After, "before", it.Gap.Before)
	p.mu.Lock()
	defer p.mu.Unlock()
	r.deliverGap(it)
}

// completeTo notes that rooms have every event up to pos.
func (p *pump) completeTo(pos streams.ID, rooms []*room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rooms {
		r.completeTo(pos)
	}
}
