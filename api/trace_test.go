package api_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	traceparent = "00-" + traceID + "-00f067aa0ba902b7-01"
)

// withTracing records the spans of requests and deliveries.
func withTracing(spans *tracetest.SpanRecorder) func(*setup) {
	provider := sdk.NewTracerProvider(sdk.WithSpanProcessor(spans))
	return func(s *setup) { s.api.Tracing, s.node.Tracing = provider, provider }
}

// awaitSpan waits until n spans with the name have ended, and returns the n-th.
func awaitSpan(t *testing.T, spans *tracetest.SpanRecorder, name string, n int) sdk.ReadOnlySpan {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		found := slices.DeleteFunc(slices.Clone(spans.Ended()), func(s sdk.ReadOnlySpan) bool { return s.Name() != name })
		if len(found) >= n {
			return found[n-1]
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d spans %s, want %d; all spans: %v", len(found), name, n, spans.Ended())
		}
		time.Sleep(time.Millisecond)
	}
}

// attribute returns a span's attribute; "" without it.
func attribute(s sdk.ReadOnlySpan, key string) string {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value.String()
		}
	}
	return ""
}

// A request to each route of the API makes a span, named by the route, with the status of the
// answer. Health checks and pages make none.
func TestRequestSpans(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	for i, tc := range []struct {
		method, path, body, accept string
		span                       string
		status                     int
		problem                    string
	}{
		{"POST", "/v1/rooms/den/events", `{"data":1}`, "", "POST /v1/rooms/:room/events", 201, ""},
		{"POST", "/v1/rooms/den/events", `{"data":`, "", "POST /v1/rooms/:room/events", 400, "body-invalid"},
		{"POST", "/v1/users/bob/events", `{"data":1}`, "", "POST /v1/users/:user/events", 201, ""},
		{"POST", "/v1/broadcast", `{"data":1}`, "", "POST /v1/broadcast", 201, ""},
		{"POST", "/v1/events", `{"events":[{"room":"den","data":1}]}`, "", "POST /v1/events", 200, ""},
		{"GET", "/v1/rooms/den/events", "", "application/json", "GET /v1/rooms/:room/events", 200, ""},
		{"GET", "/v1/ws", "", "", "GET /v1/ws", 426, "upgrade-required"},
		{"GET", "/v1/rooms/d%20n/events", "", "", "GET /v1/rooms/:room/events", 400, "room-invalid"},
	} {
		if got := h.request(tc.method, tc.path, tc.body, "Accept", tc.accept); got.status != tc.status {
			t.Errorf("%s %s: %d %s", tc.method, tc.path, got.status, got.body)
		}
		requests := slices.DeleteFunc(slices.Clone(spans.Ended()), func(s sdk.ReadOnlySpan) bool { return s.SpanKind() != trace.SpanKindServer })
		if len(requests) != i+1 {
			t.Fatalf("after %s %s: %d spans, want %d", tc.method, tc.path, len(requests), i+1)
		}
		span := requests[i]
		if span.Name() != tc.span || attribute(span, "http.route") != strings.Fields(tc.span)[1] || attribute(span, "http.request.method") != tc.method ||
			attribute(span, "http.response.status_code") != fmt.Sprint(tc.status) || attribute(span, "tidemark.problem") != tc.problem ||
			attribute(span, "network.protocol.version") != "1.1" || attribute(span, "url.scheme") != "http" {
			t.Errorf("%s %s made the span %s: %v", tc.method, tc.path, span.Name(), span.Attributes())
		}
	}
	before := len(spans.Started())
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/", "/console/x", "/nothing"} {
		h.request("GET", path, "")
	}
	if n := len(spans.Started()) - before; n != 0 {
		t.Errorf("%d spans of health checks and pages", n)
	}
}

// A failure of the log marks the span as an error, a failure of the client does not.
func TestRequestSpanOfFailure(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.log.writesDown.Store(true)
	h.request("POST", "/v1/rooms/den/events", `{"data":1}`)
	h.request("POST", "/v1/rooms/den/events", `{"data":`)
	for i, want := range []string{"Error", "Unset"} {
		span := awaitSpan(t, spans, "POST /v1/rooms/:room/events", i+1)
		if got := span.Status().Code.String(); got != want || span.Status().Description != "" {
			t.Errorf("span %d has the status %v, want %s", i, span.Status(), want)
		}
	}
}

// The span of a stream ends when the stream is open, also over HTTP/2, where the handler stays
// until the end of the stream.
func TestSpanOfStream(t *testing.T) {
	eachHTTP(t, func(t *testing.T, over func(*setup)) {
		spans := tracetest.NewSpanRecorder()
		h := start(t, withTracing(spans), over)
		for path, name := range map[string]string{
			"/v1/rooms/den/events": "GET /v1/rooms/:room/events",
			"/v1/events?room=den":  "GET /v1/events",
		} {
			h.follow(path).opened()
			if got := attribute(awaitSpan(t, spans, name, 1), "http.response.status_code"); got != "200" {
				t.Errorf("%s opened with %s", path, got)
			}
		}
	})
}

// The span of a WebSocket ends when it is open.
func TestSpanOfWebSocket(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	start(t, withTracing(spans)).dial()
	if got := attribute(awaitSpan(t, spans, "GET /v1/ws", 1), "http.response.status_code"); got != "101" {
		t.Errorf("the WebSocket opened with %s", got)
	}
}

// The span of a rejected stream has the status of its answer and no error.
func TestSpanOfRejectedStream(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.log.watermarksDown.Store(true)
	if b := h.follow("/v1/rooms/den/events").block(); !strings.Contains(b, "log-unavailable") {
		t.Errorf("the stream got %s", b)
	}
	span := awaitSpan(t, spans, "GET /v1/rooms/:room/events", 1)
	if attribute(span, "http.response.status_code") != "200" || len(span.Events()) != 0 || span.Status().Code != 0 {
		t.Errorf("the span has %v, %v, %v", span.Attributes(), span.Events(), span.Status())
	}
}

// A publish continues the trace of its request, and the delivery continues the publish. A
// malformed traceparent begins a new trace.
func TestTraceContinues(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.follow("/v1/rooms/den/events").opened()
	for i, tc := range []struct {
		header    string
		continues bool
	}{
		{traceparent, true},
		{"", false},
		{"00-" + traceID + "-0000000000000000-01", false},
		{"ff-" + traceID + "-00f067aa0ba902b7-01", false},
		{strings.ToUpper(traceparent), false},
		{strings.Repeat(traceparent, 100), false},
		{"cc-" + traceID + "-00f067aa0ba902b7-01-of a later version", true},
	} {
		h.request("POST", "/v1/rooms/den/events", `{"data":1}`, "traceparent", tc.header)
		publish := awaitSpan(t, spans, "POST /v1/rooms/:room/events", i+1)
		deliver := awaitSpan(t, spans, "deliver", i+1)
		if got := publish.SpanContext().TraceID().String() == traceID; got != tc.continues || publish.Parent().IsValid() != tc.continues {
			t.Errorf("%.80q: the publish is in the trace %s", tc.header, publish.SpanContext().TraceID())
		}
		if deliver.Parent().SpanID() != publish.SpanContext().SpanID() || deliver.SpanContext().TraceID() != publish.SpanContext().TraceID() {
			t.Errorf("%.80q: the delivery is a child of %v", tc.header, deliver.Parent())
		}
	}
}

// A trace that the publisher does not sample is not sampled here.
func TestTraceNotSampled(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	s := h.follow("/v1/rooms/den/events")
	s.opened()
	awaitSpan(t, spans, "GET /v1/rooms/:room/events", 1)
	h.request("POST", "/v1/rooms/den/events", `{"data":1}`, "traceparent", traceparent[:len(traceparent)-1]+"0")
	s.block() // live
	s.block()
	if n := len(spans.Ended()); n != 1 {
		t.Errorf("%d spans, want only that of the stream", n)
	}
}

// Every event of a batch is in the request's trace.
func TestTraceOfBatch(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.follow("/v1/events?room=a&room=b").opened()
	h.request("POST", "/v1/events", `{"events":[{"rooms":["a","b"],"data":1},{"room":"a","data":2}]}`, "traceparent", traceparent)
	publish := awaitSpan(t, spans, "POST /v1/events", 1)
	for i := range 3 {
		if deliver := awaitSpan(t, spans, "deliver", i+1); deliver.Parent().SpanID() != publish.SpanContext().SpanID() {
			t.Errorf("delivery %d is a child of %v", i, deliver.Parent())
		}
	}
}

// Publishes on a WebSocket begin a trace, which the deliveries of their events continue.
func TestSpanOfMessages(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.follow("/v1/rooms/den/events").opened()
	c := h.dial()
	c.send(`{"op":"publish","room":"den","data":1}`)
	c.frame()
	publish := awaitSpan(t, spans, "publish", 1)
	if publish.SpanKind() != trace.SpanKindServer || publish.Parent().IsValid() || attribute(publish, "messaging.batch.message_count") != "1" {
		t.Errorf("the span of kind %v is a child of %v: %v", publish.SpanKind(), publish.Parent(), publish.Attributes())
	}
	if deliver := awaitSpan(t, spans, "deliver", 1); deliver.Parent().SpanID() != publish.SpanContext().SpanID() {
		t.Errorf("the delivery is a child of %v", deliver.Parent())
	}
	h.log.writesDown.Store(true)
	c.send(`{"op":"publish","room":"den","data":1}`)
	c.frame()
	if got := attribute(awaitSpan(t, spans, "publish", 2), "error.type"); got != "log-unavailable" {
		t.Errorf("the failure is reported as %q", got)
	}
	c.send(`{"op":"publish","room":"den"}`) // refused before it reaches the log
	c.frame()
	c.send(`{"op":"ping"}`)
	c.frame()
	if n := len(slices.DeleteFunc(slices.Clone(spans.Started()), func(s sdk.ReadWriteSpan) bool { return s.Name() != "publish" })); n != 2 {
		t.Errorf("%d spans of messages, want 2", n)
	}
}

// Spans contain no credential, no header, no path and no data of an event.
func TestSpansKeepSecrets(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans), withAuth(t))
	credential := token(t, time.Hour, all("den"))
	for _, ask := range []func(){
		func() {
			h.request("POST", "/v1/rooms/den/events?access_token="+credential, `{"type":"SECRET","data":"SECRET","key":1}`)
		},
		func() {
			h.request("POST", "/v1/rooms/den/events", `{"type":"SECRET","data":"SECRET"}`, "Authorization", "Bearer "+credential, "Idempotency-Key", "SECRET", "Cookie", "a=SECRET", "User-Agent", "SECRET")
		},
		func() { h.request("POST", "/v1/rooms/den/events?access_token=SECRET", `{}`) },
		func() { h.request("SECRET", "/v1/rooms/den/events?access_token="+credential, `{}`) },
		func() { h.request("POST", "/v1/users/SECRET/events", `{}`) },
		func() { h.follow("/v1/rooms/den/events?access_token=" + credential).opened() },
	} {
		ask()
	}
	ended := spans.Ended()
	if len(ended) < 6 {
		t.Errorf("%d spans", len(ended))
	}
	for _, s := range tracetest.SpanStubsFromReadOnlySpans(ended) {
		text := fmt.Sprintf("%+v", s)
		if strings.Contains(text, "SECRET") || strings.Contains(text, "eyJ") || strings.Contains(text, credential) || strings.Contains(text, "access_token") {
			t.Errorf("a span contains %s", text)
		}
	}
}

// A panic gives its span the status of the answer.
func TestSpanOfPanic(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	h := start(t, withTracing(spans))
	h.publish("den", "1")
	h.log.panics.Store(true)
	a := h.request("GET", "/v1/rooms/den/events?after=00000000000000000000000000", "", "Accept", "application/json")
	if got := attribute(awaitSpan(t, spans, "GET /v1/rooms/:room/events", 1), "http.response.status_code"); got != fmt.Sprint(a.status) || a.status != http.StatusInternalServerError {
		t.Errorf("the span has the status %s, the answer %d", got, a.status)
	}
}
