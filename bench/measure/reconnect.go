package measure

import (
	"context"
	"errors"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	reconnectClients = 5_000
	missedEvents     = 100
	// reconnectLimit limits simultaneous connection attempts, so that they fit into
	// every server's accept queue.
	reconnectLimit = 1_000
)

// MassReconnect is measure 6. All clients of a room reconnect at once and receive the
// events they missed.
func (b *Bench) MassReconnect(ctx context.Context) error {
	return errors.Join(
		forEach(b.systems(), func(s system.System) error { return b.massReconnect(ctx, s, false) }),
		forEach(b.systems(), func(s system.System) error { return b.massReconnect(ctx, s, true) }),
	)
}

func (b *Bench) massReconnect(ctx context.Context, s system.System, redis bool) error {
	name := "5,000 clients resume 100 events each"
	if redis {
		name += ", with Redis"
	}
	return b.withSystem(ctx, s, setup{retain: 1000, redis: redis}, func(tr *trial) error {
		if err := tr.publishWhileAway(s, reconnectClients, missedEvents); err != nil {
			return err
		}
		deliveredBefore := tr.totals.Delivered
		before, err := tr.logReads(b.Tidemark, s)
		if err != nil {
			return err
		}
		r, err := tr.do(load.Command{Resume: &load.Resume{MaxConnecting: reconnectLimit}})
		if err != nil {
			return err
		}
		after, err := tr.logReads(b.Tidemark, s)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 6, Name: name, Unit: "events/s", Higher: true, Targets: []result.Target{result.Limit(800_000)},
		}, s, perSecond(r.Delivered-deliveredBefore, r.Elapsed), tr.counts())
		if s == b.Tidemark {
			b.observe(result.Figure{
				Measure: 6, Name: name + ": reads of the log", Unit: "reads", Targets: []result.Target{result.Limit(2)},
			}, s, after-before, tr.counts())
		}
		return nil
	})
}

// publishWhileAway opens clients, disconnects them, and publishes events. The clients
// receive one event before that, because some systems give no position otherwise.
func (tr *trial) publishWhileAway(s system.System, clients, events int) error {
	room := load.Room("storm")
	if err := tr.follow(preferredFollow(s), room, clients); err != nil {
		return err
	}
	w := load.Work{To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: room, Events: 1}
	if _, err := tr.do(load.Command{Work: &w}); err != nil {
		return err
	}
	if _, err := tr.do(load.Command{Cut: &load.Cut{}}); err != nil {
		return err
	}
	if err := tr.pause(settleTime); err != nil {
		return err
	}
	w.Events, w.ClientsAway = events, true
	if _, err := tr.do(load.Command{Work: &w}); err != nil {
		return err
	}
	return tr.pause(settleTime)
}

// logReads returns how many reads of the log Tidemark has started for clients or, with
// Redis, how many stream reads Redis has executed.
func (tr *trial) logReads(t *system.Tidemark, s system.System) (float64, error) {
	if s != t {
		return 0, nil
	}
	if tr.redis == nil {
		return t.Metric("tidemark_catch_ups_total")
	}
	calls, err := tr.redis.Commands()
	return float64(calls["xrange"] + calls["xrevrange"]), err
}
