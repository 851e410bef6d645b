package redislog

import (
	"context"
	"slices"
	"strings"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/tests/redistest"
)

// recorded opens a log whose spans are recorded.
func recorded(t *testing.T, opt Options) (*Log, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	opt.Tracing = sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	return open(t, opt), spans
}

// The trace of a publish contains the call to Redis, without any part of the event.
func TestSpanOfAppend(t *testing.T) {
	l, spans := recorded(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	checkAppendSpan(t, l, spans)
}

// Each node of a Cluster is instrumented.
func TestSpanOfAppendInCluster(t *testing.T) {
	l, spans := recorded(t, Options{URL: redistest.StartCluster(t, nil).URL(), Prefix: newPrefix()})
	checkAppendSpan(t, l, spans)
}

func checkAppendSpan(t *testing.T, l *Log, spans *tracetest.SpanRecorder) {
	t.Helper()
	d := traced(keyed("secret-room", `"secret-data"`, "secret-key"))
	put(t, l, d)
	spanOf := func(name string) sdk.ReadOnlySpan {
		ended := spans.Ended()
		i := slices.IndexFunc(ended, func(s sdk.ReadOnlySpan) bool { return strings.HasPrefix(s.Name(), name) })
		if i < 0 {
			t.Fatalf("no span %s among %d", name, len(ended))
		}
		return ended[i]
	}
	span := spanOf("eval")
	if span.Parent().TraceID().String() != aTrace.TraceID() || span.Parent().SpanID().String() != aTrace.SpanID() || span.SpanKind() != trace.SpanKindClient {
		t.Errorf("span %s of kind %s is a child of %v", span.Name(), span.SpanKind(), span.Parent())
	}
	for _, s := range spans.Ended() {
		for _, a := range s.Attributes() {
			if text := a.Value.String(); strings.Contains(text, "secret") {
				t.Errorf("span %s has %s = %s", s.Name(), a.Key, text)
			}
		}
	}
}

// A node's own calls create no spans. Its calls for a traced request do.
func TestSpansOnlyOfRequests(t *testing.T) {
	l, spans := recorded(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	follow(t, l, "r")
	put(t, l, draft("r", `1`))
	all(t, l, "r")
	watermarks(t, l, "r")
	if err := l.Ping(context.Background()); err != nil {
		t.Fatal(err)
	}
	if made := spans.Started(); len(made) != 0 {
		t.Errorf("%d spans, the first %s", len(made), made[0].Name())
	}
	if err := l.Ping(aTrace.Within(context.Background())); err != nil {
		t.Fatal(err)
	}
	if made := spans.Ended(); len(made) != 1 || made[0].Name() != "persist" {
		t.Errorf("a traced request made the spans %v", made)
	}
}
