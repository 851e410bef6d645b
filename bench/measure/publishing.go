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

	// publishTime is how long publishing is measured. publishWarmUp is how long it runs
	// before that.
	publishTime   = 5 * time.Second
	publishWarmUp = time.Second

	batchEvents  = 100
	socketWindow = 32 // unanswered messages per WebSocket
)

// Names of figures that other targets refer to.
const (
	singlePosts = "64 connections, one event per POST, with Redis"
	scriptAlone = "64 publishers, no HTTP, with Redis"
)

// Publishing is measure 4. It measures acknowledged publishes per second.
func (b *Bench) Publishing(ctx context.Context) error {
	posts := result.Figure{Name: singlePosts, Targets: []result.Target{
		result.TimesOf(2, result.Nchan), {Times: 0.7, Name: scriptAlone, System: result.Script},
	}}
	single := func(s system.System) error {
		return b.publishing(ctx, s, true, posts, 1, func() load.Publish { return s.Publish() })
	}
	twice := []result.Target{result.TimesFigure(2, singlePosts)}
	t := b.Tidemark
	return errors.Join(
		forEach(b.systems(), single),
		b.script(ctx),
		b.publishing(ctx, t, true, result.Figure{Name: "64 connections, batches of 100, with Redis", Targets: twice}, 1,
			func() load.Publish { return t.PublishBatch(batchEvents) }),
		b.publishing(ctx, t, true, result.Figure{Name: "64 WebSockets, 32 publishes in flight on each, with Redis", Targets: twice}, socketWindow,
			func() load.Publish { return t.PublishWebSocket() }),
		b.publishing(ctx, t, false, result.Figure{Name: "64 connections, one event per POST, embedded log, fsynced", Targets: []result.Target{result.Limit(25_000)}}, 1,
			func() load.Publish { return t.Publish() }),
	)
}

func (b *Bench) publishing(ctx context.Context, s system.System, redis bool, f result.Figure, window int, to func() load.Publish) error {
	return b.withSystem(ctx, s, setup{retain: 1000, redis: redis}, func(tr *trial) error {
		w := load.Work{
			To: []load.Publish{to()}, Publishers: publishers, Window: window,
			Rooms: load.Rooms{Prefix: "publish-", Count: publishRooms}, Time: publishWarmUp,
		}
		if _, _, err := tr.work(w); err != nil {
			return err
		}
		w.Time = publishTime
		r, used, err := tr.work(w)
		if err != nil {
			return err
		}
		f.Measure, f.Unit, f.Higher = 4, "events/s", true
		b.observe(f, s, perSecond(r.Published, r.Answered), tr.counts())
		b.observe(result.Figure{Measure: 4, Name: f.Name + ": server CPU", Unit: "µs/event"}, s,
			float64(used.server.Microseconds())/float64(r.Published), tr.counts())
		if redis {
			b.observe(result.Figure{Measure: 4, Name: f.Name + ": Redis CPU", Unit: "µs/event"}, s,
				float64(used.redis.Microseconds())/float64(r.Published), tr.counts())
		}
		return nil
	})
}

// script measures the append script without a server, through the Go benchmark of
// package redislog.
func (b *Bench) script(ctx context.Context) error {
	values, err := b.goBenchmark(ctx, "./streams/redislog", "BenchmarkLog/AppendParallel64$")
	if err != nil {
		return err
	}
	f := result.Figure{Measure: 4, Name: scriptAlone, System: result.Script, Unit: "events/s", Higher: true}
	return b.observeBenchmark(f, values, "events/s")
}
