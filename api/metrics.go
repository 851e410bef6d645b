package api

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/limits"
)

// metrics count what the HTTP edge does. docs/metrics.md lists them; their names are part of
// the public interface. Every series exists from the start, at zero, except those of
// requests: Prometheus cannot see an increase in a series that begins with its first count.
type metrics struct {
	connections *prometheus.GaugeVec // transport
	deliveries  *conn.Deliveries
	published   *prometheus.CounterVec // transport, result
	problems    *prometheus.CounterVec // code
	limits      *prometheus.CounterVec // limit, one of the constants below
	requests    requestMetrics
}

// The names of the limits on callers. (Limits on sizes are problems, counted by code.)
const (
	limitNode        = "node"         // connections of this node
	limitAddress     = "address"      // connections of an address
	limitUser        = "user"         // connections of a user, on all nodes
	limitMessages    = "messages"     // messages on a WebSocket
	limitRate        = "rate"         // publishes of a key or user
	limitRateAddress = "rate-address" // publishes of an address

	limitReadRate        = "read-rate"         // reads of a key or user
	limitReadRateAddress = "read-rate-address" // reads of an address
	limitNewRooms        = "new-rooms"         // rooms created by a key or user
)

// The transports by which events are published.
const (
	viaREST      = "rest"
	viaWebSocket = "websocket"
)

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		connections: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tidemark_connections", Help: "Current connections, by transport.",
		}, []string{"transport"}),
		deliveries: conn.NewDeliveries(),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_published_total", Help: "Events published through this node, by transport and result.",
		}, []string{"transport", "result"}),
		problems: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_problems_total", Help: "Problems reported to clients, by code.",
		}, []string{"code"}),
		limits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_limits_total", Help: "Times that a caller reached a limit, by limit.",
		}, []string{"limit"}),
		requests: newRequestMetrics(),
	}
	for p := range conn.Protocols {
		m.connections.WithLabelValues(p.String())
	}
	for _, via := range []string{viaREST, viaWebSocket} {
		for _, result := range publishResults {
			m.published.WithLabelValues(via, result)
		}
	}
	for _, limit := range []string{
		limitNode, limitAddress, limitUser, limitMessages, limitRate, limitRateAddress, limitReadRate, limitReadRateAddress, limitNewRooms,
	} {
		m.limits.WithLabelValues(limit)
	}
	if r != nil {
		r.MustRegister(m.connections, m.deliveries, m.published, m.problems, m.limits, m.requests.answered, m.requests.seconds)
	}
	return m
}

// registerPool registers the metrics of a pool of memory that clients hold.
func registerPool(r prometheus.Registerer, name string, pool *limits.MemoryPool) {
	if r == nil {
		return
	}
	label := prometheus.Labels{"pool": name}
	r.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tidemark_client_memory_bytes", Help: "Memory that clients hold now, by pool.", ConstLabels: label,
		}, func() float64 { return float64(pool.Used()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "tidemark_client_memory_evictions_total", Help: "Clients that lost their memory because a pool was full, by pool.", ConstLabels: label,
		}, func() float64 { return float64(pool.Evicted()) }),
	)
}

// hit counts that callers reached a limit, n times.
func (m *metrics) hit(limit string, n int) { m.limits.WithLabelValues(limit).Add(float64(n)) }

// The results of a publish.
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

// requestMetrics count requests by the router's patterns. Counting by path would make one
// series per room.
type requestMetrics struct {
	answered *prometheus.CounterVec   // route, method, status
	seconds  *prometheus.HistogramVec // route, method
}

func newRequestMetrics() requestMetrics {
	return requestMetrics{
		answered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_http_requests_total",
			Help: "Answered requests, by route, method and status. A stream counts when it begins.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "tidemark_http_request_seconds",
			Help:    "Duration of requests, by route and method, without streams and WebSockets.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route", "method"}),
	}
}
