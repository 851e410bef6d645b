package tracing

import (
	"context"
	"net/http"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/streams"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

func TestNoProvider(t *testing.T) {
	if got := Tracer(nil); got != nil {
		t.Errorf("a tracer %v without a provider", got)
	}
}

// A span that nobody keeps, or none, gives an event no trace.
func TestOf(t *testing.T) {
	for header, want := range map[string]streams.Trace{
		"":          "",
		traceparent: traceparent,
		"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00": "",
	} {
		if got := Of(asked(header)); got != want {
			t.Errorf("from %q comes %q, want %q", header, got, want)
		}
	}
}

func TestWithinNothing(t *testing.T) {
	ctx := context.Background()
	if got := Within(ctx, ""); got != ctx {
		t.Error("no trace, and another context")
	}
}

// asked is the context of a request with a traceparent.
func asked(traceparent string) context.Context {
	h := http.Header{}
	h.Set("traceparent", traceparent)
	return propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(h))
}

// What a request brings is no trace or a whole one, which a log takes along and which
// is the same span when it comes out.
func FuzzTraceparent(f *testing.F) {
	f.Add(traceparent)
	f.Add("01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more")
	f.Add("")
	f.Fuzz(func(t *testing.T, header string) {
		from := asked(header)
		carried := Of(from)
		if carried == "" {
			return
		}
		if again, err := streams.ParseTrace(string(carried)); err != nil || again != carried {
			t.Fatalf("%q is carried as %q, and read as %q, %v", header, carried, again, err)
		}
		at, end := trace.SpanContextFromContext(from), trace.SpanContextFromContext(Within(context.Background(), carried))
		if end.TraceID() != at.TraceID() || end.SpanID() != at.SpanID() || !end.IsSampled() || !end.IsRemote() {
			t.Errorf("%q begins as %v and ends as %v", header, at, end)
		}
	})
}

// What comes out of a log is refused, or a span's place, which is the same for others
// who take it at all.
func FuzzParseTrace(f *testing.F) {
	f.Add(traceparent)
	f.Add(traceparent[:54] + "0")
	f.Fuzz(func(t *testing.T, s string) {
		got, err := streams.ParseTrace(s)
		if err != nil {
			return
		}
		sc := trace.SpanContextFromContext(Within(context.Background(), got))
		if sc.TraceID().String() != got.TraceID() || sc.SpanID().String() != got.SpanID() || sc.IsSampled() != got.Sampled() || !sc.IsValid() {
			t.Errorf("%q is %v", s, sc)
		}
		others := trace.SpanContextFromContext(asked(s))
		if others.IsValid() && (others.TraceID() != sc.TraceID() || others.SpanID() != sc.SpanID() || others.IsSampled() != sc.IsSampled()) {
			t.Errorf("%q is %v, and to others %v", s, sc, others)
		}
	})
}
