package api

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidemark/tidemark/streams"
)

// What carries several events is as late as the oldest of them that came live; what is
// replayed is not late.
func TestLoad(t *testing.T) {
	event := func(ms uint64) *streams.Event { return &streams.Event{ID: streams.MakeID(ms, 1, 0)} }
	var l load
	l.add(event(50), false)
	if l != (load{events: 1}) {
		t.Errorf("replayed: %+v", l)
	}
	for _, ms := range []uint64{300, 200, 400} {
		l.add(event(ms), true)
	}
	if l != (load{events: 4, since: 200}) {
		t.Errorf("live: %+v", l)
	}
}

// Each write counts once, in the first bucket that it is not later than; one from the
// future is not late.
func TestLagCounts(t *testing.T) {
	var c lagCounts
	const now = 1_000_000
	for _, since := range []uint64{now, now - 1, now - 2, now - 30_000, now - 30_001, now + 5_000} {
		c.add(now, since, 2)
	}
	for i, want := range map[int]uint64{0: 6, 1: 2, len(lagBounds) - 1: 2, len(lagBounds): 2} {
		if got := c.buckets[i].Load(); got != want {
			t.Errorf("bucket %d: %d, want %d", i, got, want)
		}
	}
	if got, want := c.millis.Load(), uint64(2*(0+1+2+30_000+30_001)); got != want {
		t.Errorf("%d ms in all, want %d", got, want)
	}
}

// What workers hand in is all there is, and a tally that was taken is empty.
func TestDeliveriesTakeTallies(t *testing.T) {
	d := newDeliveries()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(d)
	var tl tally
	old := uint64(time.Now().Add(-time.Hour).UnixMilli())
	for range turns {
		tl.write(overSSE, load{events: 3, since: old})
	}
	tl.write(overWebSocket, load{events: 5}) // of a replay
	tl.fail(overWebSocket, load{events: 7, since: old})
	d.take(&tl)
	d.take(&tl)
	if tl.n != 0 {
		t.Errorf("%d writes are left in the tally", tl.n)
	}
	for _, tt := range []struct {
		counter prometheus.Counter
		want    float64
	}{{d.written[overSSE], 3 * turns}, {d.written[overWebSocket], 5}, {d.failed[overWebSocket], 7}, {d.failed[overSSE], 0}} {
		var m dto.Metric
		if err := tt.counter.Write(&m); err != nil || m.Counter.GetValue() != tt.want {
			t.Errorf("%v: %v, want %v", tt.counter.Desc(), m.Counter.GetValue(), tt.want)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "tidemark_delivery_lag_seconds" {
			continue
		}
		for _, m := range f.Metric {
			want := map[string]uint64{"sse": turns, "websocket": 0}[m.Label[0].GetValue()]
			if got := m.Histogram.GetSampleCount(); got != want {
				t.Errorf("%v: %d writes, want %d", m.Label, got, want)
			}
		}
	}
}
