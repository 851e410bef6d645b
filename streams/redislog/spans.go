package redislog

import (
	"context"

	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/embedded"
)

// instrument makes the client create spans of its calls, unless p is nil. The spans leave
// out the commands' arguments, which contain events and the names of rooms and keys.
//
// It instruments each node of a Cluster as the client finds it. redisotel would add the
// address of each node to the spans of all later ones.
func instrument(client redis.UniversalClient, p trace.TracerProvider) {
	if p == nil {
		return
	}
	one := func(c *redis.Client) {
		// The error is for other kinds of clients.
		_ = redisotel.InstrumentTracing(c, redisotel.WithTracerProvider(childProvider{p: p}),
			redisotel.WithDBStatement(false), redisotel.WithCallerEnabled(false))
	}
	switch c := client.(type) {
	case *redis.Client:
		one(c)
	case *redis.ClusterClient:
		c.OnNewNode(one)
	}
}

// A childProvider creates spans only below a sampled span. The calls that a node makes by
// itself, every few seconds, create none.
type childProvider struct {
	embedded.TracerProvider
	p trace.TracerProvider
}

func (c childProvider) Tracer(name string, o ...trace.TracerOption) trace.Tracer {
	return childTracer{t: c.p.Tracer(name, o...)}
}

type childTracer struct {
	embedded.Tracer
	t trace.Tracer
}

func (c childTracer) Start(ctx context.Context, name string, o ...trace.SpanStartOption) (context.Context, trace.Span) {
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, trace.SpanFromContext(context.Background()) // a span that does nothing
	}
	return c.t.Start(ctx, name, o...)
}
