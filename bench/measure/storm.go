package measure

import (
	"context"
	"errors"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	stormClients = 5_000
	stormEvents  = 100
	// stormAtOnce keeps the connections that no server has accepted yet below the
	// length of any server's queue.
	stormAtOnce = 1_000
)

// Storm is measure 6: all clients of a room were cut, and come back at once to what
// they missed.
func (b *Bench) Storm(ctx context.Context) error {
	return errors.Join(
		forEach(b.all(), func(s system.System) error { return b.storm(ctx, s, false) }),
		forEach(b.all(), func(s system.System) error { return b.storm(ctx, s, true) }),
	)
}

func (b *Bench) storm(ctx context.Context, s system.System, redis bool) error {
	name := "5,000 clients resume 100 events each"
	if redis {
		name += ", with Redis"
	}
	return b.with(ctx, s, setup{retain: 1000, redis: redis}, func(k *session) error {
		if err := k.missed(s, stormClients, stormEvents); err != nil {
			return err
		}
		had := k.known.Delivered
		before, err := k.reads(b.Tidemark, s)
		if err != nil {
			return err
		}
		r, err := k.do(load.Command{Resume: &load.Resume{AtOnce: stormAtOnce}})
		if err != nil {
			return err
		}
		after, err := k.reads(b.Tidemark, s)
		if err != nil {
			return err
		}
		b.observe(result.Figure{
			Measure: 6, Name: name, Unit: "events/s", Higher: true, Reach: []result.Bound{result.Limit(800_000)},
		}, s, perSecond(r.Delivered-had, r.Elapsed), k.counts())
		if s == b.Tidemark {
			b.observe(result.Figure{
				Measure: 6, Name: name + ": reads of the log", Unit: "reads", Reach: []result.Bound{result.Limit(2)},
			}, s, after-before, k.counts())
		}
		return nil
	})
}

// missed lets clients follow a room, and cuts them before events are published to
// it. They have got one event before, for some systems give no position without.
func (k *session) missed(s system.System, clients, events int) error {
	room := load.Room("storm")
	if err := k.follow(favourite(s), room, clients); err != nil {
		return err
	}
	w := load.Work{To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: room, Events: 1}
	if _, err := k.do(load.Command{Work: &w}); err != nil {
		return err
	}
	if _, err := k.do(load.Command{Cut: &load.Cut{}}); err != nil {
		return err
	}
	if err := k.pause(settle); err != nil {
		return err
	}
	w.Events, w.Ahead = events, true
	if _, err := k.do(load.Command{Work: &w}); err != nil {
		return err
	}
	return k.pause(settle)
}

// reads is how often Tidemark has begun to read its log for clients, and in Redis
// how often it has read a stream.
func (k *session) reads(t *system.Tidemark, s system.System) (float64, error) {
	if s != t {
		return 0, nil
	}
	if k.redis == nil {
		return t.Metric("tidemark_catch_ups_total")
	}
	calls, err := k.redis.Commands()
	return float64(calls["xrange"] + calls["xrevrange"]), err
}
