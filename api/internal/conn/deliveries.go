package conn

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Deliveries count the events that are written to clients, and their delay. It is a
// prometheus.Collector.
type Deliveries struct {
	delivered       *prometheus.CounterVec
	written, failed [Protocols]prometheus.Counter // of delivered
	lag             *prometheus.Desc
	late            [Protocols]lagCounts
}

// lagBounds are the histogram's buckets in milliseconds, the resolution of the time in an
// event's id.
var lagBounds = [...]uint64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000}

// lagCounts count the writes of one protocol by their delay. The histogram of the
// Prometheus library would take each write of a worker separately.
type lagCounts struct {
	buckets [len(lagBounds) + 1]atomic.Uint64 // the last one is for delays beyond the bounds
	millis  atomic.Uint64                     // the sum of all delays
}

// NewDeliveries returns Deliveries in which every series is at zero.
func NewDeliveries() *Deliveries {
	d := &Deliveries{
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_delivered_total", Help: "Events for connections, by transport and result: written, or failed if the connection broke.",
		}, []string{"transport", "result"}),
		lag: prometheus.NewDesc("tidemark_delivery_lag_seconds",
			"Time from logging to the socket: the age of the oldest live event in each write.",
			[]string{"transport"}, nil),
	}
	for t := range Protocols {
		d.written[t] = d.delivered.WithLabelValues(t.String(), "written")
		d.failed[t] = d.delivered.WithLabelValues(t.String(), "failed")
	}
	return d
}

// take adds c and empties it. It reads the clock once, after the last write, so earlier
// writes appear late by the duration of the later ones, some microseconds each.
func (d *Deliveries) take(c *counters) {
	for p := range Protocols {
		if n := c.written[p]; n > 0 {
			d.written[p].Add(float64(n))
			c.written[p] = 0
		}
		if n := c.failed[p]; n > 0 {
			d.failed[p].Add(float64(n))
			c.failed[p] = 0
		}
	}
	if c.n == 0 {
		return
	}
	now := uint64(time.Now().UnixMilli())
	writes := c.writes[:c.n]
	for len(writes) > 0 { // one event that went to many connections is one addition
		same := 1
		for same < len(writes) && writes[same] == writes[0] {
			same++
		}
		d.late[writes[0].protocol].add(now, writes[0].since, uint64(same))
		writes = writes[same:]
	}
	c.n = 0
}

// add counts n writes made at now of events logged at since. If the log's clock is ahead of
// this machine's, the delay is 0.
func (c *lagCounts) add(now, since, n uint64) {
	delay := now - min(since, now)
	i := 0
	for i < len(lagBounds) && lagBounds[i] < delay {
		i++
	}
	c.buckets[i].Add(n)
	c.millis.Add(n * delay)
}

// Describe implements prometheus.Collector.
func (d *Deliveries) Describe(ch chan<- *prometheus.Desc) {
	d.delivered.Describe(ch)
	ch <- d.lag
}

// Collect implements prometheus.Collector.
func (d *Deliveries) Collect(ch chan<- prometheus.Metric) {
	d.delivered.Collect(ch)
	for t := range Protocols {
		ch <- d.late[t].metric(d.lag, t.String())
	}
}

func (c *lagCounts) metric(desc *prometheus.Desc, transport string) prometheus.Metric {
	buckets, n := make(map[float64]uint64, len(lagBounds)), uint64(0)
	for i, bound := range lagBounds {
		n += c.buckets[i].Load()
		buckets[float64(bound)/1000] = n
	}
	n += c.buckets[len(lagBounds)].Load()
	return prometheus.MustNewConstHistogram(desc, n, float64(c.millis.Load())/1000, buckets, transport)
}
