// Package tracing ties OpenTelemetry's spans to events. A publish gives its event a
// streams.Trace, which the log takes along to the nodes that deliver the event; their
// spans belong to the same trace.
//
// It holds no state: spans go where the provider says that each package is given.
// Where that is nil nothing is traced, and nothing is spent on it.
package tracing

import (
	"context"

	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

// Tracer returns the one tracer that Tidemark's own spans are made by, or nil for a nil
// provider.
func Tracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer("github.com/tidemark/tidemark")
}

// Of returns the trace that goes on from the span in ctx: "" if there is none, or if
// nobody keeps it.
func Of(ctx context.Context) streams.Trace {
	sc := trace.SpanContextFromContext(ctx)
	if !sc.IsValid() || !sc.IsSampled() {
		return ""
	}
	return streams.Trace("00-" + sc.TraceID().String() + "-" + sc.SpanID().String() + "-01")
}

// Within returns ctx within the span that t comes from, or ctx where t is "".
func Within(ctx context.Context, t streams.Trace) context.Context {
	if t == "" {
		return ctx
	}
	// A Trace has the form that both ask for.
	traceID, _ := trace.TraceIDFromHex(t.TraceID())
	spanID, _ := trace.SpanIDFromHex(t.SpanID())
	return trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(0).WithSampled(t.Sampled()),
	}))
}
