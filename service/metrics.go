package service

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what a node does. The names are part of the surface: they are
// listed in docs/protocol.md.
type metrics struct {
	subscriptions prometheus.Gauge
	rooms         prometheus.Gauge
	published     *prometheus.CounterVec // result
	received      prometheus.Counter
	overflows     prometheus.Counter
	catchUps      prometheus.Counter
	repairs       prometheus.Counter
	feedLosses    prometheus.Counter
	away          prometheus.Gauge
	gaps          *prometheus.CounterVec // reason
}

func newMetrics(r prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "tidemark_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tidemark_" + name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "tidemark_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		subscriptions: gauge("subscriptions", "Subscriptions that stand."),
		rooms:         gauge("rooms", "Rooms that this node follows."),
		published:     vec("published_total", "Events published through this node, by result.", "result"),
		received:      counter("received_total", "Events that passed the pump."),
		overflows:     counter("queue_overflows_total", "Full queues that were dropped."),
		catchUps:      counter("catch_ups_total", "Reads of the log begun for a subscription."),
		repairs:       counter("repairs_total", "Reads of the log begun because a live event was missing."),
		feedLosses:    counter("feed_losses_total", "Live feeds that were lost and joined again."),
		away:          gauge("partitions_away", "Partitions of the log that do not answer."),
		gaps:          vec("gap_notices_total", "Gap notices handed to subscriptions, by reason.", "reason"),
	}
	if r != nil {
		r.MustRegister(m.subscriptions, m.rooms, m.published, m.received, m.overflows,
			m.catchUps, m.repairs, m.feedLosses, m.away, m.gaps)
	}
	return m
}
