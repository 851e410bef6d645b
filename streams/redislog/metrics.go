package redislog

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// The kinds of calls of Redis, in the metrics. An append that waits for replicas or the
// disk is one of its own: it takes as long as they do.
const (
	callAppend        = "append"
	callAppendDurable = "append-durable"
	callRead          = "read"
	callEdges         = "edges"
	callPing          = "ping"
	callProbe         = "probe"
	callSubscribe     = "subscribe" // to the first channel of a feed, until that is confirmed
	callDial          = "dial"
	callOther         = "other"
)

// metrics counts what a log does with Redis. The names are part of the surface: they are
// listed in docs/metrics.md. What has a label is there from the start.
type metrics struct {
	calls      *prometheus.HistogramVec // call
	byName     map[string]prometheus.Observer
	byScript   map[string]prometheus.Observer // by a script's hash, and by its text
	other      prometheus.Observer
	durable    prometheus.Observer
	dial       prometheus.Observer
	subscribe  prometheus.Observer
	probes     prometheus.Histogram
	probesLost prometheus.Counter
}

func newMetrics() *metrics {
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidemark_redis_call_seconds", Help: "Round trips to Redis, by the kind of call.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"call"})
	of := func(call string) prometheus.Observer { return calls.WithLabelValues(call) }
	return &metrics{
		calls: calls,
		byName: map[string]prometheus.Observer{
			"xrange": of(callRead), "xrevrange": of(callRead), "persist": of(callPing), "spublish": of(callProbe),
		},
		byScript: map[string]prometheus.Observer{
			appendScript.Hash(): of(callAppend), appendScript.source: of(callAppend),
			edgesScript.Hash(): of(callEdges), edgesScript.source: of(callEdges),
		},
		other: of(callOther), durable: of(callAppendDurable), dial: of(callDial), subscribe: of(callSubscribe),
		probes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_redis_probe_seconds", Help: "From publishing a probe to hearing it, on this node's clock alone.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		probesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_redis_probes_lost_total", Help: "Probes that did not come back before the next one was due.",
		}),
	}
}

// register has r show the metrics of l.
func (m *metrics) register(r prometheus.Registerer, l *Log) {
	if r == nil {
		return
	}
	r.MustRegister(m.calls, m.probes, m.probesLost, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tidemark_log_losses_total", Help: "Times that this node found that Redis lost events, and had readers told.",
	}, func() float64 { return float64(l.Losses()) }))
}

// watch has what client does with Redis counted: in a Cluster, with each of its nodes, so
// that a call which is sent on to another one counts twice.
func (m *metrics) watch(client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(callTimer{m}) })
		return
	}
	client.AddHook(callTimer{m})
}

// callTimer is go-redis's hook: it measures each round trip, whatever comes of it.
type callTimer struct{ *metrics }

var _ redis.Hook = callTimer{}

func (t callTimer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(settled{}) != nil {
			return next(ctx, network, addr) // does not dial
		}
		began := time.Now()
		conn, err := next(ctx, network, addr)
		observe(t.dial, began)
		return conn, err
	}
}

func (t callTimer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmd)
		observe(t.of(cmd), began)
		return err
	}
}

// ProcessPipelineHook sees appends that wait, for nothing else here is a pipeline of this
// client's user; what greets a new connection is one of the client itself.
func (t callTimer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		to := t.other
		if len(cmds) > 1 && t.of(cmds[0]) == t.byScript[appendScript.Hash()] {
			to = t.durable
		}
		observe(to, began)
		return err
	}
}

// of returns where a command is counted.
func (m *metrics) of(cmd redis.Cmder) prometheus.Observer {
	name := cmd.Name()
	switch name {
	case "evalsha", "eval":
		if args := cmd.Args(); len(args) > 1 {
			if script, ok := args[1].(string); ok {
				return orOther(m.byScript[script], m.other)
			}
		}
	}
	return orOther(m.byName[name], m.other)
}

func orOther(o, other prometheus.Observer) prometheus.Observer {
	if o == nil {
		return other
	}
	return o
}

func observe(o prometheus.Observer, began time.Time) { o.Observe(time.Since(began).Seconds()) }
