package streams

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Without a sampled span, an event has no trace.
func TestTraceOf(t *testing.T) {
	for header, want := range map[string]Trace{
		"":          "",
		traceparent: traceparent,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": "",
	} {
		if got := TraceOf(requestContext(header)); got != want {
			t.Errorf("header %q gives the trace %q, want %q", header, got, want)
		}
	}
}

func TestWithinNoTrace(t *testing.T) {
	ctx := context.Background()
	if got := Trace("").Within(ctx); got != ctx {
		t.Error("the empty trace changed the context")
	}
}

// requestContext returns the context of a request with a traceparent.
func requestContext(traceparent string) context.Context {
	h := http.Header{}
	h.Set("traceparent", traceparent)
	return propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(h))
}

// Any header gives no trace or a complete one. A complete one can be parsed, and leads
// back to the same span.
func FuzzTraceparent(f *testing.F) {
	f.Add(traceparent)
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		from := requestContext(header)
		carried := TraceOf(from)
		if carried == "" {
			return
		}
		if again, err := ParseTrace(string(carried)); err != nil || again != carried {
			t.Fatalf("%q is carried as %q, and read as %q, %v", header, carried, again, err)
		}
		at, end := trace.SpanContextFromContext(from), trace.SpanContextFromContext(carried.Within(context.Background()))
		if end.TraceID() != at.TraceID() || end.SpanID() != at.SpanID() || !end.IsSampled() || !end.IsRemote() {
			t.Errorf("%q begins as %v and ends as %v", header, at, end)
		}
	})
}

// ParseTrace refuses a text, or reads the span that OpenTelemetry reads from it.
func FuzzParseTrace(f *testing.F) {
	f.Add(traceparent)
	f.Add(traceparent[:54] + "0")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTrace(s)
		if err != nil {
			return
		}
		sc := trace.SpanContextFromContext(got.Within(context.Background()))
		if sc.TraceID().String() != got.TraceID() || sc.SpanID().String() != got.SpanID() || sc.IsSampled() != got.Sampled() || !sc.IsValid() {
			t.Errorf("%q is %v", s, sc)
		}
		others := trace.SpanContextFromContext(requestContext(s))
		if others.IsValid() && (others.TraceID() != sc.TraceID() || others.SpanID() != sc.SpanID() || others.IsSampled() != sc.IsSampled()) {
			t.Errorf("%q is %v, and OpenTelemetry reads %v", s, sc, others)
		}
	})
}
