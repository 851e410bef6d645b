package service

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

// newTracer returns the tracer of a node's spans, or nil for a nil provider.
func newTracer(p trace.TracerProvider) trace.Tracer {
	if p == nil {
		return nil
	}
	return p.Tracer("github.com/tidemark/tidemark")
}

// startDelivery starts the span of delivering e to the subscriptions of its room: one
// span per event and node. It returns nil if the event or the node is not traced. The
// span is a child of the publish's span, so that one trace shows the event's whole way.
//
// https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
func startDelivery(tracer trace.Tracer, e *streams.Event) trace.Span {
	if tracer == nil || e.Trace == "" {
		return nil
	}
	_, span := tracer.Start(e.Trace.Within(context.Background()), "deliver",
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

// endDelivery ends the span of an event that was offered to n subscriptions.
func endDelivery(span trace.Span, n int) {
	span.SetAttributes(attribute.Int("tidemark.subscriptions", n))
	span.End()
}
