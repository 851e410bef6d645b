package streams_test

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// A span that is not sampled gives an event no trace.
func TestTraceOf(t *testing.T) {
	for header, want := range map[string]streams.Trace{
		"":          "",
		traceparent: traceparent,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": "",
	} {
		if got := streams.TraceOf(contextWith(header)); got != want {
			t.Errorf("from %q comes %q, want %q", header, got, want)
		}
	}
}

func TestWithinNoTrace(t *testing.T) {
	ctx := context.Background()
	if got := streams.Trace("").Within(ctx); got != ctx {
		t.Error("an empty trace changed the context")
	}
}

// contextWith returns the context of a request with a traceparent.
func contextWith(traceparent string) context.Context {
	h := http.Header{}
	h.Set("traceparent", traceparent)
	return propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(h))
}

// The trace of a request survives the way through a log: the span at the end is the one at
// the start.
func FuzzTraceparent(f *testing.F) {
	f.Add(traceparent)
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		from := contextWith(header)
		carried := streams.TraceOf(from)
		if carried == "" {
			return
		}
		if again, err := streams.ParseTrace(string(carried)); err != nil || again != carried {
			t.Fatalf("%q is carried as %q, and read as %q, %v", header, carried, again, err)
		}
		at, end := trace.SpanContextFromContext(from), trace.SpanContextFromContext(carried.Within(context.Background()))
		if end.TraceID() != at.TraceID() || end.SpanID() != at.SpanID() || !end.IsSampled() || !end.IsRemote() {
			t.Errorf("%q begins as %v and ends as %v", header, at, end)
		}
	})
}

// ParseTrace refuses a text, or it names the same span as in other implementations that
// accept it.
func FuzzParseTrace(f *testing.F) {
	f.Add(traceparent)
	f.Add(traceparent[:54] + "0")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := streams.ParseTrace(s)
		if err != nil {
			return
		}
		sc := trace.SpanContextFromContext(got.Within(context.Background()))
		if sc.TraceID().String() != got.TraceID() || sc.SpanID().String() != got.SpanID() || sc.IsSampled() != got.Sampled() || !sc.IsValid() {
			t.Errorf("%q is %v", s, sc)
		}
		others := trace.SpanContextFromContext(contextWith(s))
		if others.IsValid() && (others.TraceID() != sc.TraceID() || others.SpanID() != sc.SpanID() || others.IsSampled() != sc.IsSampled()) {
			t.Errorf("%q is %v, and to others %v", s, sc, others)
		}
	})
}
