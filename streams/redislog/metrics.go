package redislog

import (
	"context"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// The kinds of calls to Redis, as values of a label. An append that waits for replicas or
// the disk has its own kind, because it takes as long as they do.
const (
	callAppend        = "append"
	callAppendDurable = "append-durable"
	callRead          = "read"
	callEdges         = "edges" // watermarks; deployments know the old name
	callPing          = "ping"
	callProbe         = "probe"
	callSubscribe     = "subscribe" // to the first channel of a feed, until it is confirmed
	callDial          = "dial"
	callOther         = "other"
)

// metrics counts a log's calls to Redis. docs/metrics.md lists the names. Every label value
// exists from the start.
type metrics struct {
	calls      *prometheus.HistogramVec // by kind of call
	byName     map[string]prometheus.Observer
	byScript   map[string]prometheus.Observer // by the script's hash, and by its text
	other      prometheus.Observer
	durable    prometheus.Observer
	dial       prometheus.Observer
	subscribe  prometheus.Observer
	probes     prometheus.Histogram
	probesLost prometheus.Counter
}

func newMetrics() *metrics {
	calls := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tidemark_redis_call_seconds", Help: "Duration of round trips to Redis, by kind of call.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	}, []string{"call"})
	of := func(call string) prometheus.Observer { return calls.WithLabelValues(call) }
	return &metrics{
		calls: calls,
		byName: map[string]prometheus.Observer{
			"xrange": of(callRead), "xrevrange": of(callRead), "persist": of(callPing), "spublish": of(callProbe),
		},
		byScript: map[string]prometheus.Observer{
			scripts.Append.Hash(): of(callAppend), scripts.Append.Source: of(callAppend),
			scripts.Watermarks.Hash(): of(callEdges), scripts.Watermarks.Source: of(callEdges),
		},
		other: of(callOther), durable: of(callAppendDurable), dial: of(callDial), subscribe: of(callSubscribe),
		probes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tidemark_redis_probe_seconds", Help: "Time from publishing a probe until it comes back, by this node's clock.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
		}),
		probesLost: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tidemark_redis_probes_lost_total", Help: "Probes that did not come back within 5 s.",
		}),
	}
}

// register adds the metrics to r, unless r is nil.
func (m *metrics) register(r prometheus.Registerer, losses func() uint64) {
	if r == nil {
		return
	}
	r.MustRegister(m.calls, m.probes, m.probesLost, prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "tidemark_log_losses_total", Help: "Times that this node found that Redis had lost events and told clients.",
	}, func() float64 { return float64(losses()) }))
}

// watch measures the client's calls. In a Cluster it measures those to each node, so a
// redirected call counts twice.
func (m *metrics) watch(client redis.UniversalClient) {
	if cluster, ok := client.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(callTimer{m}) })
		return
	}
	client.AddHook(callTimer{m})
}

// callTimer is a hook of go-redis that measures each round trip, successful or not.
type callTimer struct{ *metrics }

var _ redis.Hook = callTimer{}

func (t callTimer) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if redisconn.RedialForbidden(ctx) {
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

// ProcessPipelineHook measures appends that wait, which are the only pipelines of this
// package. The client itself uses a pipeline to set up a new connection.
func (t callTimer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		to := t.other
		if len(cmds) > 1 && t.of(cmds[0]) == t.byScript[scripts.Append.Hash()] {
			to = t.durable
		}
		observe(to, began)
		return err
	}
}

// of returns the observer of a command.
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
