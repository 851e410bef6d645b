package measure

import (
	"context"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

const (
	badClients = 9_500
	badRate    = 2 // events a second
	badTime    = 40 * time.Second
	badUp      = 15 * time.Second // on average
	badDown    = 2 * time.Second  // on average
)

// BadLines is measure 8: clients of one room whose lines break again and again, and
// how long each takes from connecting again to the last event published by then.
// Systems that follow over SSE are compared.
func (b *Bench) BadLines(ctx context.Context) error {
	return forEach(b.all(), func(s system.System) error { return b.badLines(ctx, s) })
}

func (b *Bench) badLines(ctx context.Context, s system.System) error {
	return b.with(ctx, s, setup{retain: 1000}, func(k *session) error {
		follow, ok := s.Follow(system.SSE)
		if !ok {
			return nil
		}
		room := load.Room("bad")
		if err := k.follow(follow, room, badClients); err != nil {
			return err
		}
		w := load.Work{To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: room, Events: 1}
		if _, _, err := k.work(w); err != nil { // some systems give no position before the first event
			return err
		}
		w.Events, w.Time, w.Rate = 0, badTime, badRate
		w.BadLines = &load.BadLines{Up: badUp, Down: badDown}
		r, _, err := k.work(w)
		if err != nil {
			return err
		}
		fmt.Fprintf(k.log, "   %d cuts, %d replays measured\n", r.Cuts, r.Latency.Count)
		b.observeReplays(s, r, k.counts())
		return nil
	})
}

func (b *Bench) observeReplays(s system.System, r load.Report, counts result.Counts) {
	const name = "9,500 clients on bad lines"
	b.observe(result.Figure{
		Measure: 8, Name: name + ": delivered", Unit: "%", Higher: true, Reach: []result.Bound{result.Limit(100)},
	}, s, 100*float64(r.Delivered)/float64(r.Delivered+r.Missing), counts)
	b.observe(result.Figure{
		Measure: 8, Name: name + ": replay p50", Unit: "ms", Reach: []result.Bound{result.Limit(2), result.AheadOf(result.Nchan)},
	}, s, milliseconds(r.Latency.P50), counts)
	b.observe(result.Figure{
		Measure: 8, Name: name + ": replay p99", Unit: "ms", Reach: []result.Bound{result.Limit(150), result.AheadOf(result.Nchan)},
	}, s, milliseconds(r.Latency.P99), counts)
}
