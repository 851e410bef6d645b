package api

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the edge does. The names are part of the surface: they are
// listed in docs/protocol.md.
type metrics struct {
	connections *prometheus.GaugeVec   // transport
	delivered   *prometheus.CounterVec // transport
	problems    *prometheus.CounterVec // code
}

// The values of the label transport.
const (
	transportSSE       = "sse"
	transportWebSocket = "websocket"
)

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidemark_connections", Help: "Connections that follow rooms, by transport.",
		}, []string{"transport"}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_delivered_total", Help: "Events written to connections, by transport.",
		}, []string{"transport"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_problems_total", Help: "Problems that clients were told of, by code.",
		}, []string{"code"}),
	}
	if r != nil {
		r.MustRegister(m.connections, m.delivered, m.problems)
	}
	for _, t := range []string{transportSSE, transportWebSocket} {
		m.connections.WithLabelValues(t) // shown from the start, as zero
		m.delivered.WithLabelValues(t)
	}
	return m
}
