package service

import (
	"context"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A tailCheck is the log's answer about the followed rooms at one moment.
type tailCheck struct {
	rooms      []*room
	watermarks streams.Watermarks
}

// runTailChecks reads the last ids of the followed rooms once per period, and pings the
// log when the feed was lost.
func (p *pump) runTailChecks(ctx context.Context) {
	tick := time.NewTicker(p.opts.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.registry.trimHot(p.opts.Hot)
			p.checkTails(ctx)
		case <-p.ping:
			p.pingLog(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (p *pump) checkTails(ctx context.Context) {
	rooms := p.registry.known()
	if len(rooms) == 0 {
		if p.health.down.Load() {
			p.pingLog(ctx)
		}
		return
	}
	w, err := p.watermarks(ctx, rooms)
	if err != nil {
		return
	}
	select {
	case p.checks <- tailCheck{rooms, w}:
	default: // the pump has not taken the previous check yet
	}
}

// pingLog records whether the log answers.
func (p *pump) pingLog(ctx context.Context) {
	_, err := p.log.Watermarks(ctx, p.id, nil)
	p.health.record(ctx, err)
}

// compare looks for rooms that are behind the log's answer of one period ago: events
// logged by then have had the time to arrive. It repairs these rooms. The others are
// proven complete up to that answer, and keep-alives carry that position.
func (p *pump) compare(ctx context.Context, now tailCheck) {
	if p.recovering {
		return
	}
	then := p.lastCheck
	p.lastCheck = &now
	if then == nil {
		return
	}
	var complete []*room
	for i, r := range then.rooms {
		pos, _ := r.position()
		if !pos.Before(then.watermarks.CompleteAt(i)) {
			complete = append(complete, r)
		}
	}
	p.completeTo(then.watermarks.Last, complete)
	if behind := len(then.rooms) - len(complete); behind > 0 {
		p.logger.Info("rooms are behind the log; reading the missing events", "rooms", behind)
		p.repair(ctx, causeTail, func() error { return p.readAll(ctx) })
	}
}
