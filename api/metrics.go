package api

import "github.com/prometheus/client_golang/prometheus"

// metrics counts what the edge does. The names are part of the surface: they are
// listed in docs/protocol.md.
type metrics struct {
	sse, websocket transportMetrics
	problems       *prometheus.CounterVec // code
	limits         *prometheus.CounterVec // limit, one of the constants below
}

// The limits on how much a caller may use, as metrics name them. (Those on the size of
// things are among the problems, by their codes.)
const (
	limitNode        = "node"         // connections of this node
	limitAddress     = "address"      // connections of an address
	limitUser        = "user"         // connections of a user, on all nodes
	limitMessages    = "messages"     // messages on a WebSocket
	limitRate        = "rate"         // publishes of a key or user
	limitRateAddress = "rate-address" // publishes of an address
)

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
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_limits_total", Help: "Times that a caller reached a limit, by limit.",
		}, []string{"limit"}),
	}
	for _, limit := range []string{limitNode, limitAddress, limitUser, limitMessages, limitRate, limitRateAddress} {
		m.limits.WithLabelValues(limit) // there from the start, for an alert sees no step from nothing to 1
	}
	if r != nil {
		r.MustRegister(connections, delivered, m.problems, m.limits)
	}
	return m
}

// hit counts that a limit was reached, n times.
func (m *metrics) hit(limit string, n int) { m.limits.WithLabelValues(limit).Add(float64(n)) }
