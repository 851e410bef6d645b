package api

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// A load is what one write to a client carries.
type load struct {
	events int

	// since is when the oldest of those that came live was logged, by the log's clock,
	// in milliseconds since 1970; 0 where there is none.
	since uint64
}

// add notes an event. fresh says that it came live: how old what is replayed is says
// nothing about this node.
func (l *load) add(e *streams.Event, fresh bool) {
	l.events++
	if !fresh {
		return
	}
	if ms := e.ID.Millis(); l.since == 0 || ms < l.since {
		l.since = ms
	}
}

// A tally is what a worker has written since it handed in its last one. To count a
// write there takes no look at the clock, and nothing that workers share.
type tally struct {
	written [transports]int // events
	failed  [transports]int // events of writes that failed
	writes  [turns]struct {
		over  transport
		since uint64 // as in load
	}
	n int // of writes
}

// write counts a write that succeeded. There may be at most turns of them.
func (t *tally) write(over transport, l load) {
	t.written[over] += l.events
	if l.since != 0 {
		t.writes[t.n].over, t.writes[t.n].since = over, l.since
		t.n++
	}
}

// fail counts a write that did not: what it carried, its client takes from the log when it
// comes back.
func (t *tally) fail(over transport, l load) { t.failed[over] += l.events }

// deliveries counts what is written to clients, and how late it is. It is a
// prometheus.Collector.
type deliveries struct {
	delivered       *prometheus.CounterVec
	written, failed [transports]prometheus.Counter // of delivered
	lag             *prometheus.Desc
	late            [transports]lagCounts
}

// lagBounds are the histogram's buckets, in milliseconds: finer than an id's time there
// is nothing to tell.
var lagBounds = [...]uint64{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000}

// lagCounts are the writes of one transport by how late they were. The library's
// histogram would count each of a worker's writes by itself.
type lagCounts struct {
	buckets [len(lagBounds) + 1]atomic.Uint64 // the last one is for those beyond the bounds
	millis  atomic.Uint64                     // in all
}

func newDeliveries() *deliveries {
	d := &deliveries{
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tidemark_delivered_total", Help: "Events written to connections, by transport and result.",
		}, []string{"transport", "result"}),
		lag: prometheus.NewDesc("tidemark_delivery_lag_seconds",
			"From the log to the socket: for each write with live events, the time since the oldest of them was logged.",
			[]string{"transport"}, nil),
	}
	for t := range transports {
		d.written[t] = d.delivered.WithLabelValues(t.String(), "written")
		d.failed[t] = d.delivered.WithLabelValues(t.String(), "failed")
	}
	return d
}

// take adds what t has counted, and leaves it empty. The clock is read once, after the
// last of the writes, so that those before it seem later by what the others took: some
// microseconds each.
func (d *deliveries) take(t *tally) {
	for over := range transports {
		if n := t.written[over]; n > 0 {
			d.written[over].Add(float64(n))
			t.written[over] = 0
		}
		if n := t.failed[over]; n > 0 {
			d.failed[over].Add(float64(n))
			t.failed[over] = 0
		}
	}
	if t.n == 0 {
		return
	}
	now := uint64(time.Now().UnixMilli())
	writes := t.writes[:t.n]
	for len(writes) > 0 { // one event for many connections is one addition
		alike := 1
		for alike < len(writes) && writes[alike] == writes[0] {
			alike++
		}
		d.late[writes[0].over].add(now, writes[0].since, uint64(alike))
		writes = writes[alike:]
	}
	t.n = 0
}

// add counts n writes at now of what was logged at since. Where the log's clock is ahead
// of this machine's, it was logged in the future, and is not late at all.
func (c *lagCounts) add(now, since, n uint64) {
	late := now - min(since, now)
	i := 0
	for i < len(lagBounds) && lagBounds[i] < late {
		i++
	}
	c.buckets[i].Add(n)
	c.millis.Add(n * late)
}

// Describe implements prometheus.Collector.
func (d *deliveries) Describe(ch chan<- *prometheus.Desc) {
	d.delivered.Describe(ch)
	ch <- d.lag
}

// Collect implements prometheus.Collector.
func (d *deliveries) Collect(ch chan<- prometheus.Metric) {
	d.delivered.Collect(ch)
	for t := range transports {
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
