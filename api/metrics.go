package api

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// metrics counts what the edge does. The names are part of the surface: they are
// listed in docs/metrics.md. What has a label is there from the start, at zero, but for
// requests: a series that begins with its first count has no rise that Prometheus could
// see.
type metrics struct {
	connections [transports]prometheus.Gauge
	deliveries  *deliveries
	published   *prometheus.CounterVec // transport, result
	problems    *prometheus.CounterVec // code
	limits      *prometheus.CounterVec // limit, one of the constants below
	requests    requestMetrics
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

// A transport is a way in which clients are connected.
type transport uint8

const (
	overSSE transport = iota
	overWebSocket
	transports
)

// String returns the transport's name in the metrics.
func (t transport) String() string { return [...]string{"sse", "websocket"}[t] }

// The ways in which events are published, in the metrics.
const (
	viaREST      = "rest"
	viaWebSocket = "websocket"
)

func newMetrics(r prometheus.Registerer) *metrics {
	connections := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidemark_connections", Help: "Connections that follow rooms, by transport.",
	}, []string{"transport"})
	m := &metrics{
		deliveries: newDeliveries(),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_published_total", Help: "Events that clients published through this node, by transport and result.",
		}, []string{"transport", "result"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_problems_total", Help: "Problems that clients were told of, by code.",
		}, []string{"code"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_limits_total", Help: "Times that a caller reached a limit, by limit.",
		}, []string{"limit"}),
		requests: newRequestMetrics(),
	}
	for t := range transports {
		m.connections[t] = connections.WithLabelValues(t.String())
	}
	for _, via := range []string{viaREST, viaWebSocket} {
		for _, result := range publishResults {
			m.published.WithLabelValues(via, result)
		}
	}
	for _, limit := range []string{limitNode, limitAddress, limitUser, limitMessages, limitRate, limitRateAddress} {
		m.limits.WithLabelValues(limit)
	}
	if r != nil {
		r.MustRegister(connections, m.deliveries, m.published, m.problems, m.limits, m.requests.answered, m.requests.seconds)
	}
	return m
}

// hit counts that a limit was reached, n times.
func (m *metrics) hit(limit string, n int) { m.limits.WithLabelValues(limit).Add(float64(n)) }

// What may become of an event that is published, in the metrics.
const (
	resultLogged      = "logged"
	resultReplayed    = "replayed"
	resultNotDurable  = "not-durable"
	resultKeyReused   = "key-reused"
	resultRefused     = "refused"
	resultUnavailable = "unavailable"
)

var publishResults = []string{
	resultLogged, resultReplayed, resultNotDurable, resultKeyReused, resultRefused, resultUnavailable,
}

// resultOf names a receipt's outcome.
func resultOf(r streams.Receipt) string {
	switch {
	case r.Err == nil && r.Replayed:
		return resultReplayed
	case r.Err == nil:
		return resultLogged
	case errors.Is(r.Err, streams.ErrKeyReused):
		return resultKeyReused
	case errors.Is(r.Err, streams.ErrRefused), errors.Is(r.Err, streams.ErrDurability):
		return resultRefused
	case errors.Is(r.Err, streams.ErrNotDurable):
		return resultNotDurable
	}
	return resultUnavailable
}
