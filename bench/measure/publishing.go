package measure

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	publishers   = 64
	publishRooms = 100

	// publishTime is how long is published, publishWarm how long before that is not
	// counted.
	publishTime = 5 * time.Second
	publishWarm = time.Second

	batchEvents  = 100
	socketWindow = 32 // messages without an answer on each WebSocket
)

// The names that others are compared with.
const (
	singlePosts = "64 connections, one POST each, with Redis"
	scriptAlone = "64 publishers, no HTTP, with Redis"
)

// Publishing is measure 4: how many publishes are acknowledged a second.
func (b *Bench) Publishing(ctx context.Context) error {
	posts := result.Figure{Name: singlePosts, Reach: []result.Bound{
		result.TimesOf(2, result.Nchan), {Times: 0.7, Name: scriptAlone, System: result.Script},
	}}
	single := func(s system.System) error {
		return b.publishing(ctx, s, true, posts, 1, func() load.Publish { return s.Publish() })
	}
	twice := []result.Bound{result.TimesFigure(2, singlePosts)}
	t := b.Tidemark
	return errors.Join(
		forEach(b.all(), single),
		b.script(ctx),
		b.publishing(ctx, t, true, result.Figure{Name: "64 connections, batches of 100, with Redis", Reach: twice}, 1,
			func() load.Publish { return t.PublishBatch(batchEvents) }),
		b.publishing(ctx, t, true, result.Figure{Name: "64 WebSockets, 32 under way on each, with Redis", Reach: twice}, socketWindow,
			func() load.Publish { return t.PublishSocket() }),
		b.publishing(ctx, t, false, result.Figure{Name: "64 connections, one POST each, embedded log, fsynced", Reach: []result.Bound{result.Limit(25_000)}}, 1,
			func() load.Publish { return t.Publish() }),
	)
}

func (b *Bench) publishing(ctx context.Context, s system.System, redis bool, f result.Figure, window int, to func() load.Publish) error {
	return b.with(ctx, s, setup{retain: 1000, redis: redis}, func(k *session) error {
		w := load.Work{
			To: []load.Publish{to()}, Publishers: publishers, Window: window,
			Rooms: load.Rooms{Prefix: "publish-", Count: publishRooms}, Time: publishWarm,
		}
		if _, _, err := k.work(w); err != nil {
			return err
		}
		w.Time = publishTime
		r, used, err := k.work(w)
		if err != nil {
			return err
		}
		f.Measure, f.Unit, f.Higher = 4, "events/s", true
		b.observe(f, s, perSecond(r.Published, r.Answered), k.counts())
		b.observe(result.Figure{Measure: 4, Name: f.Name + ": server CPU", Unit: "µs/event"}, s,
			float64(used.server.Microseconds())/float64(r.Published), k.counts())
		if redis {
			b.observe(result.Figure{Measure: 4, Name: f.Name + ": Redis CPU", Unit: "µs/event"}, s,
				float64(used.redis.Microseconds())/float64(r.Published), k.counts())
		}
		return nil
	})
}

// script is the append script by itself, as the module's own benchmark calls it.
func (b *Bench) script(ctx context.Context) error {
	values, err := b.goBenchmark(ctx, "./streams/redislog", "BenchmarkLog/AppendParallel64$")
	if err != nil {
		return err
	}
	f := result.Figure{Measure: 4, Name: scriptAlone, System: result.Script, Unit: "events/s", Higher: true}
	return b.observeBenchmark(f, values, "events/s")
}
