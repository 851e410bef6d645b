package conn

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/tidemark/tidemark/streams"
)

// A write is as old as the oldest live event in it. Replayed events do not count.
func TestWriteStats(t *testing.T) {
	event := func(ms uint64) *streams.Event { return &streams.Event{ID: streams.MakeID(ms, 1, 0)} }
	var s WriteStats
	s.Add(event(50), false)
	if s != (WriteStats{events: 1}) {
		t.Errorf("replayed: %+v", s)
	}
	for _, ms := range []uint64{300, 200, 400} {
		s.Add(event(ms), true)
	}
	if s != (WriteStats{events: 4, since: 200}) {
		t.Errorf("live: %+v", s)
	}
}

// Each write counts once, in the first bucket whose bound it does not exceed. An event from
// the future has no delay.
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
		t.Errorf("the sum is %d ms, want %d", got, want)
	}
}

// Deliveries add what a worker has counted exactly once.
func TestDeliveriesTakeCounters(t *testing.T) {
	d := NewDeliveries()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(d)
	var c counters
	old := uint64(time.Now().Add(-time.Hour).UnixMilli())
	for range chainLength {
		c.write(SSE, WriteStats{events: 3, since: old})
	}
	c.write(WebSocket, WriteStats{events: 5}) // replayed
	c.fail(WebSocket, WriteStats{events: 7, since: old})
	d.take(&c)
	d.take(&c)
	if c.n != 0 {
		t.Errorf("%d writes are left in the counters", c.n)
	}
	for _, tt := range []struct {
		counter prometheus.Counter
		want    float64
	}{{d.written[SSE], 3 * chainLength}, {d.written[WebSocket], 5}, {d.failed[WebSocket], 7}, {d.failed[SSE], 0}} {
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
			want := map[string]uint64{"sse": chainLength, "websocket": 0}[m.Label[0].GetValue()]
			if got := m.Histogram.GetSampleCount(); got != want {
				t.Errorf("%v: %d writes, want %d", m.Label, got, want)
			}
		}
	}
}
