package api

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the edge does. The names are part of the surface: they are
// listed in docs/protocol.md.
type metrics struct {
	sse, websocket transportMetrics
	problems       *prometheus.CounterVec // code
}

type transportMetrics struct {
	connections prometheus.Gauge
	delivered   prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidemark_connections", Help: "Connections that follow rooms, by transport.",
	}, []string{"transport"})
	delivered := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tidemark_delivered_total", Help: "Events written to connections, by transport.",
	}, []string{"transport"})
	of := func(transport string) transportMetrics {
		return transportMetrics{connections.WithLabelValues(transport), delivered.WithLabelValues(transport)}
	}
	m := &metrics{
		sse:       of("sse"),
		websocket: of("websocket"),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_problems_total", Help: "Problems that clients were told of, by code.",
		}, []string{"code"}),
	}
	if r != nil {
		r.MustRegister(connections, delivered, m.problems)
	}
	return m
}
