package service

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/replay"
)

// metrics are a node's counters. Their names are public: docs/metrics.md lists them. Every
// series with a label exists from the start, at zero. Prometheus would not see the first
// increase of a series that begins with it.
type metrics struct {
	subscriptions prometheus.Gauge
	rooms         prometheus.Gauge
	received      prometheus.Counter
	overflows     prometheus.Counter
	catchUps      prometheus.Counter
	repairs       *prometheus.CounterVec // cause
	feedLosses    prometheus.Counter
	unavailable   prometheus.Gauge
	gaps          *prometheus.CounterVec // reason
	logErrors     *prometheus.CounterVec // operation
}

// The causes of a repair.
const (
	causeHole = "hole" // the Prev of a live event shows that an earlier one is missing
	causeFeed = "feed" // the feed was lost
	causeTail = "tail" // the tail check found a room behind the log
)

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_" + name, Help: help})
	}
	vec := func(name, help, label string, values ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_" + name, Help: help}, []string{label})
		for _, value := range values {
			v.WithLabelValues(value)
		}
		return v
	}
	m := &metrics{
		subscriptions: gauge("subscriptions", "Current subscriptions."),
		rooms:         gauge("rooms", "Rooms that this node follows."),
		received:      counter("received_total", "Events received from the log."),
		overflows:     counter("queue_overflows_total", "Connections that fell behind: their queue was dropped and they continued from the log."),
		catchUps:      counter("catch_ups_total", "Reads of the log started for a connection."),
		repairs: vec("repairs_total", "Reads of the log started because live events were missing, by cause.", "cause",
			causeHole, causeFeed, causeTail),
		feedLosses:  counter("feed_losses_total", "Times that a live feed from the log was lost and reconnected."),
		unavailable: gauge("partitions_away", "Partitions of the log that currently do not answer."),
		gaps: vec("gap_notices_total", "Gap notices sent to subscriptions, by reason.", "reason",
			string(replay.Trimmed), string(replay.Expired), string(replay.Reset), string(replay.UnknownCursor)),
		logErrors: vec("log_errors_total", "Failed calls of the log, by operation.", "operation",
			opAppend, opWatermarks, opRead, opPing),
	}
	if r != nil {
		r.MustRegister(m.subscriptions, m.rooms, m.received, m.overflows,
			m.catchUps, m.repairs, m.feedLosses, m.unavailable, m.gaps, m.logErrors)
	}
	return m
}

// observe registers the gauges of a node's memory.
func (m *metrics) observe(r prometheus.Registerer, mem *memory) {
	if r == nil {
		return
	}
	for name, g := range map[string]struct {
		help  string
		value *atomic.Int64
	}{
		"replay_memory_bytes": {"Memory that replays and history requests have acquired, in bytes.", &mem.used},
		"replays_waiting":     {"Replays and history requests that wait for memory.", &mem.waiting},
		"hot_memory_bytes":    {"Memory of the newest events of followed rooms, in bytes, estimated.", &mem.hot},
	} {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "tidemark_" + name, Help: g.help},
			func() float64 { return float64(g.value.Load()) }))
	}
}

// countGap counts a gap notice that a subscription is given.
func (m *metrics) countGap(g *replay.Gap) { m.gaps.WithLabelValues(string(g.Reason)).Inc() }
