package service_test

import (
	"context"
	"testing"
	"testing/synctest"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const aTrace = streams.Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

// recorder returns a provider and the recorder of its spans.
func recorder() (trace.TracerProvider, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	return sdk.NewTracerProvider(sdk.WithSpanProcessor(spans)), spans
}

// An event has one delivery span per node, for any number of connections. The span is a
// child of the publish's span.
func TestDeliverySpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider, spans := recorder()
		node := service.New(newMemLog(), &service.Options{Tracing: provider})
		defer node.Close()
		for range 3 {
			defer listen(t, node, nil).Close()
		}
		ids := []streams.ID{
			publishWithin(t, node, aTrace, `"secret"`),
			publishWithin(t, node, "", `"secret"`),
		}
		synctest.Wait()

		ended := spans.Ended()
		if len(ended) != 1 {
			t.Fatalf("%d spans, want 1", len(ended))
		}
		span := ended[0]
		if span.Name() != "deliver" || span.SpanKind() != trace.SpanKindConsumer || span.Parent().TraceID().String() != aTrace.TraceID() ||
			span.Parent().SpanID().String() != aTrace.SpanID() {
			t.Errorf("span %s of kind %v is a child of %v", span.Name(), span.SpanKind(), span.Parent())
		}
		got := attribute.NewSet(span.Attributes()...)
		want := attribute.NewSet(
			attribute.String("messaging.system", "tidemark"),
			attribute.String("messaging.operation.name", "deliver"),
			attribute.String("messaging.operation.type", "process"),
			attribute.String("messaging.destination.name", "a"),
			attribute.String("messaging.message.id", ids[0].String()),
			attribute.Int("tidemark.subscriptions", 3),
		)
		if !got.Equals(&want) {
			t.Errorf("the span's attributes are %v", got.ToSlice())
		}
	})
}

// A node without tracing keeps the traces of other nodes' events, and starts none.
func TestTraceWithoutProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		l := listen(t, node, nil)
		defer l.Close()
		publishWithin(t, node, aTrace, `1`)
		log.Append(t.Context(), []streams.Draft{{Room: "a", Data: []byte(`2`), Trace: aTrace}})
		synctest.Wait()
		batch, err := l.Next(t.Context())
		if err != nil || len(batch.Items) != 2 {
			t.Fatalf("got %d events, %v", len(batch.Items), err)
		}
		for i, want := range []streams.Trace{"", aTrace} {
			if got := batch.Items[i].Event.Trace; got != want {
				t.Errorf("event %d has the trace %q, want %q", i, got, want)
			}
		}
	})
}

// publishWithin publishes into room "a" within the trace parent.
func publishWithin(t *testing.T, node *service.Node, parent streams.Trace, data string) streams.ID {
	t.Helper()
	ctx := parent.Within(context.Background())
	r := node.Publish(ctx, []streams.Draft{{Room: "a", Data: []byte(data)}})[0]
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	return r.ID
}
