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
	unstableClients = 9_500
	unstableRate    = 2 // events per second
	unstableTime    = 40 * time.Second
	meanUpTime      = 15 * time.Second // mean time connected
	meanDownTime    = 2 * time.Second  // mean time disconnected
)

// UnstableConnections is measure 8. The connections of one room's clients break
// repeatedly. It measures the time from each reconnect to the last event published
// before it. Only systems that support SSE are compared.
func (b *Bench) UnstableConnections(ctx context.Context) error {
	return forEach(b.systems(), func(s system.System) error { return b.unstableConnections(ctx, s) })
}

func (b *Bench) unstableConnections(ctx context.Context, s system.System) error {
	return b.withSystem(ctx, s, setup{retain: 1000}, func(tr *trial) error {
		follow, ok := s.Follow(system.SSE)
		if !ok {
			return nil
		}
		room := load.Room("bad")
		if err := tr.follow(follow, room, unstableClients); err != nil {
			return err
		}
		w := load.Work{To: []load.Publish{s.Publish()}, Publishers: 1, Rooms: room, Events: 1}
		if _, _, err := tr.work(w); err != nil { // some systems give no position before the first event
			return err
		}
		w.Events, w.Time, w.Rate = 0, unstableTime, unstableRate
		w.Disconnects = &load.Disconnects{Up: meanUpTime, Down: meanDownTime}
		r, _, err := tr.work(w)
		if err != nil {
			return err
		}
		fmt.Fprintf(tr.log, "   %d connections cut, %d replays measured\n", r.Cuts, r.Latency.Count)
		b.observeReplays(s, r, tr.counts())
		return nil
	})
}

func (b *Bench) observeReplays(s system.System, r load.Report, counts result.Counts) {
	const name = "9,500 clients on unstable connections"
	b.observe(result.Figure{
		Measure: 8, Name: name + ": delivered", Unit: "%", Higher: true, Targets: []result.Target{result.Limit(100)},
	}, s, 100*float64(r.Delivered)/float64(r.Delivered+r.Missing), counts)
	b.observe(result.Figure{
		Measure: 8, Name: name + ": replay p50", Unit: "ms", Targets: []result.Target{result.Limit(2), result.BetterThan(result.Nchan)},
	}, s, milliseconds(r.Latency.P50), counts)
	b.observe(result.Figure{
		Measure: 8, Name: name + ": replay p99", Unit: "ms", Targets: []result.Target{result.Limit(150), result.BetterThan(result.Nchan)},
	}, s, milliseconds(r.Latency.P99), counts)
}
