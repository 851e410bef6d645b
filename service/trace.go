package service

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tracing"
)

// trace gives drafts the trace of ctx, if there is one.
func (n *Node) trace(ctx context.Context, drafts []streams.Draft) {
	if n.opts.Tracing == nil {
		return
	}
	t := tracing.Of(ctx)
	for i := range drafts {
		drafts[i].Trace = t
	}
}

// deliver begins the span of handing e to the subscriptions of its room, one for each
// event and node; nil where the event or this node is not traced. It is a child of the
// publish's span, and not only linked to it: whoever asks where an event has gone looks
// at one trace.
//
// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
func (p *pump) deliver(e *streams.Event) trace.Span {
	if p.tracer == nil || e.Trace == "" {
		return nil
	}
	_, span := p.tracer.Start(tracing.Within(context.Background(), e.Trace), "deliver",
		trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(
			attribute.String("messaging.system", "tidemark"),
			attribute.String("messaging.operation.name", "deliver"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", string(e.Room)),
			attribute.String("messaging.message.id", e.ID.String()),
		))
	return span
}

// endDelivery ends the span of an event that was handed to those who follow r.
func endDelivery(span trace.Span, r *room) {
	r.mu.Lock()
	n := len(r.members)
	r.mu.Unlock()
	span.SetAttributes(attribute.Int("tidemark.subscriptions", n))
	span.End()
}
