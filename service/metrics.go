package service

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/replay"
)

// metrics counts what a node does. The names are part of the surface: they are
// listed in docs/metrics.md. Whatever has a label is there from the start, at zero: a
// series that begins with its first count has no rise that Prometheus could see.
type metrics struct {
	subscriptions prometheus.Gauge
	rooms         prometheus.Gauge
	received      prometheus.Counter
	overflows     prometheus.Counter
	catchUps      prometheus.Counter
	repairs       *prometheus.CounterVec // cause
	feedLosses    prometheus.Counter
	away          prometheus.Gauge
	gaps          *prometheus.CounterVec // reason
	logErrors     *prometheus.CounterVec // operation
}

// Why the pump reads the log.
const (
	causeHole = "hole" // an event shows that one before it has not come
	causeFeed = "feed" // the feed was lost
	causeTail = "tail" // a room is behind what the log said of it
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
		subscriptions: gauge("subscriptions", "Subscriptions that stand."),
		rooms:         gauge("rooms", "Rooms that this node follows."),
		received:      counter("received_total", "Events that passed the pump."),
		overflows:     counter("queue_overflows_total", "Full queues that were dropped."),
		catchUps:      counter("catch_ups_total", "Reads of the log begun for a subscription."),
		repairs: vec("repairs_total", "Reads of the log begun because live events were missing, by cause.", "cause",
			causeHole, causeFeed, causeTail),
		feedLosses: counter("feed_losses_total", "Live feeds that were lost and joined again."),
		away:       gauge("partitions_away", "Partitions of the log that do not answer."),
		gaps: vec("gap_notices_total", "Gap notices handed to subscriptions, by reason.", "reason",
			string(replay.Trimmed), string(replay.Expired), string(replay.Reset), string(replay.UnknownCursor)),
		logErrors: vec("log_errors_total", "Calls of the log that failed, by operation.", "operation",
			opAppend, opEdges, opRead, opPing),
	}
	if r != nil {
		r.MustRegister(m.subscriptions, m.rooms, m.received, m.overflows,
			m.catchUps, m.repairs, m.feedLosses, m.away, m.gaps, m.logErrors)
	}
	return m
}
