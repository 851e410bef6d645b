package redislog

import (
	"context"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tracing"
)

// instrument has client make spans of its calls, without what stands in them: that is
// events, and the names of rooms and keys. A nil provider leaves the client as it is.
//
// The nodes of a Cluster are each instrumented as they are found; redisotel would add
// the address of each to all that come after it.
func instrument(client redis.UniversalClient, p trace.TracerProvider) {
	if p == nil {
		return
	}
	one := func(c *redis.Client) {
		// The error is for other kinds of clients.
		_ = redisotel.InstrumentTracing(c, redisotel.WithTracerProvider(asked{p: p}),
			redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false))
	}
	switch c := client.(type) {
	case *redis.Client:
		one(c)
	case *redis.ClusterClient:
		c.OnNewNode(one)
	}
}

// asked is a provider that makes spans only within others that somebody keeps: what a
// node asks Redis by itself, every few seconds for as long as it runs, is no trace.
type asked struct {
	embedded.TracerProvider
	p trace.TracerProvider
}

func (a asked) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	return askedTracer{t: a.p.Tracer(name, o...)}
}

type askedTracer struct {
	embedded.Tracer
	t trace.Tracer
}

func (a askedTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, trace.SpanFromContext(context.Background()) // which does nothing
	}
	return a.t.Start(ctx, name, o...)
}

// within returns a context in the trace of the first of the submissions that has one.
// The others share its call, and have no span of it.
func (l *Log) within(taken []*submission) context.Context {
	ctx := context.Background()
	if l.opt.Tracing == nil {
		return ctx
	}
	for _, s := range taken {
		if t := traceOf(s.drafts); t != "" {
			return tracing.Within(ctx, t)
		}
	}
	return ctx
}

// traceOf returns the trace that a submission's drafts have in common.
func traceOf(drafts []streams.Draft) streams.Trace { return drafts[0].Trace }
