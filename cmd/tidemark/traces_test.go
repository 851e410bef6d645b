package main

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// tracedTo is the environment of a node that sends its spans to c.
func tracedTo(c *collector, env ...string) program.Options {
	return program.Options{Env: append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=50"}, env...)}
}

// publishTraced publishes into the lobby, in the trace of somebody else, with a token.
func publishTraced(t *testing.T, s *program.Server, token string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, s.URL()+"/v1/rooms/lobby/events?access_token="+token, strings.NewReader(`{"type":"SECRET","data":"SECRET"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("traceparent", traceparent)
	r.Header.Set("Idempotency-Key", "SECRET")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Fatalf("publish: %s", resp.Status)
	}
}

// One trace goes from a publisher by one node, through Redis, to the delivery by another;
// nothing that is said in confidence goes with it.
func TestTraceOverTwoNodes(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	server := redistest.Start(t)
	secret := secretFile(t, testSecret)
	args := []string{"--redis", server.URL(), "--auth-secret-file", secret}
	a := tidemark.Serve(t, tracedTo(c), append(args, "--node=a")...)
	b := tidemark.Serve(t, tracedTo(c, "OTEL_RESOURCE_ATTRIBUTES=service.instance.id=renamed"), append(args, "--node=b")...)
	token := strings.TrimSpace(tidemark.Must(t, program.Options{}, "token", "--auth-secret-file", secret, "--sub=ann", "--subscribe=*", "--publish=*"))
	tail := tidemark.Start(t, with(b, token), "tail", "lobby", "--since=earliest")

	tidemark.Must(t, with(a, token), "publish", "lobby", `"that somebody follows"`)
	tail.Stdout.AwaitText(t, "that somebody follows")
	publishTraced(t, a, token)
	tail.Stdout.AwaitText(t, "SECRET")
	ours := func(s span) bool { return hex.EncodeToString(s.TraceId) == streams.Trace(traceparent).TraceID() }
	request := c.await("of the request", func(s span) bool { return ours(s) && s.Name == "POST /v1/rooms/:room/events" })
	call := c.await("of the call to Redis", func(s span) bool { return ours(s) && strings.HasPrefix(s.Name, "eval") })
	deliver := c.await("of the delivery", func(s span) bool { return ours(s) && s.Name == "deliver" && s.node == "renamed" })

	if request.node != "a" || hex.EncodeToString(request.ParentSpanId) != streams.Trace(traceparent).SpanID() || request.Kind != spans.Span_SPAN_KIND_SERVER {
		t.Errorf("the request: %s of %s", request, request.node)
	}
	for what, s := range map[string]span{"Redis": call, "the delivery": deliver} {
		if !bytes.Equal(s.ParentSpanId, request.SpanId) {
			t.Errorf("%s is not a child of the request: %s", what, s)
		}
	}
	for _, s := range []*program.Server{a, b} {
		s.Signal(syscall.SIGTERM)
		if code := s.Wait(); code != exitOK {
			t.Errorf("exit code %d\n%s", code, s.Stderr)
		}
	}
	_, all := c.heard()
	for _, sign := range []string{"SECRET", "eyJ", token, "access_token"} {
		if bytes.Contains(all, []byte(sign)) {
			t.Errorf("the spans have %q", sign)
		}
	}
	if !bytes.Contains(all, []byte("lobby")) {
		t.Error("the search finds nothing at all")
	}
}

// The spans that wait when a node ends are sent before it does.
func TestLastSpansAreSent(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	s := tidemark.Serve(t, program.Options{Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=3600000"}}, "--data", t.TempDir())
	tidemark.Must(t, at(s), "publish", "lobby", "1")
	if calls, _ := c.heard(); calls != 0 {
		t.Fatalf("%d calls before the end", calls)
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	c.await("of the publish", func(s span) bool { return s.Name == "POST /v1/rooms/:room/events" })
}

// A node that nobody told to trace opens no connection for it, whatever traces requests are of.
func TestNoTraces(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"nothing said": {},
		"disabled":     {"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=otlp"},
		"no exporter":  {"OTEL_TRACES_EXPORTER=none"},
	} {
		t.Run(name, func(t *testing.T) {
			c := startCollector(t)
			if len(env) > 0 {
				env = append(env, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)
			}
			s := tidemark.Serve(t, program.Options{Env: env}, "--data", t.TempDir())
			publishTraced(t, s, "")
			s.Signal(syscall.SIGTERM)
			s.Wait()
			if calls, _ := c.heard(); calls != 0 {
				t.Errorf("%d calls", calls)
			}
			if strings.Contains(s.Stderr.String(), "trace") {
				t.Errorf("the log speaks of traces:\n%s", s.Stderr)
			}
		})
	}
}

// A collector that is not there costs nobody anything but its spans, and the operator is told.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	c.Close()
	s := tidemark.Serve(t, tracedTo(c, "OTEL_EXPORTER_OTLP_TIMEOUT=100"), "--data", t.TempDir())
	tidemark.Must(t, at(s), "publish", "lobby", "1")
	s.Stderr.AwaitText(t, "spans are lost")
	tidemark.Must(t, at(s), "publish", "lobby", "2")
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	if n := strings.Count(s.Stderr.String(), "spans are lost"); n != 1 {
		t.Errorf("that spans are lost is said %d times", n)
	}
}

// A collector's key stays out of the log, also where it is not written as it should be.
func TestCollectorKeyStaysSecret(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	endpoint := strings.Replace(c.URL, "http://", "http://user:SECRET@", 1)
	c.Close()
	s := tidemark.Serve(t, program.Options{Env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT=SECRET", "OTEL_BSP_SCHEDULE_DELAY=50",
		"OTEL_EXPORTER_OTLP_HEADERS=authorization: Bearer SECRET,x-key=SECRET%zz,SECRET key=1",
	}}, "--data", t.TempDir(), "--log-level=debug")
	tidemark.Must(t, at(s), "publish", "lobby", "1")
	s.Stderr.AwaitText(t, "spans are lost")
	s.Stderr.AwaitText(t, "parse headers")
	if strings.Contains(s.Stderr.String(), "SECRET") {
		t.Errorf("the log has it:\n%s", s.Stderr)
	}
}

// What the environment asks for and is not there stops the start, with a line that says so.
func TestTracesNotSpoken(t *testing.T) {
	t.Parallel()
	for _, env := range [][]string{
		{"OTEL_TRACES_EXPORTER=zipkin"},
		{"OTEL_TRACES_EXPORTER=otlp,console"},
		{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/thrift"},
		{"OTEL_TRACES_EXPORTER=otlp", "OTEL_RESOURCE_ATTRIBUTES=production"},
	} {
		_, stderr, code := tidemark.Run(t, program.Options{Env: env}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir())
		if code != exitUsage || !strings.Contains(stderr, "OTEL_") || len(lines(stderr)) != 1 {
			t.Errorf("%v: exit code %d, want %d and why in a line:\n%s", env, code, exitUsage, stderr)
		}
		if stdout, stderr, code := tidemark.Run(t, program.Options{Env: env}, "config", "check"); code == exitOK || !strings.Contains(stdout+stderr, "OTEL_") {
			t.Errorf("%v: config check has nothing against it:\n%s%s", env, stdout, stderr)
		}
	}
}

// Spans go to the collector that is named, else to this machine's, where there is no TLS.
func TestWhereSpansGo(t *testing.T) {
	for endpoint, want := range map[string]string{
		"":                        "http://localhost:4318/v1/traces",
		"https://c.example.com":   "https://c.example.com/v1/traces",
		"http://c.example.com/at": "http://c.example.com/at/v1/traces",
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
		var went string
		client := &http.Client{Transport: transport(func(r *http.Request) { went = r.URL.String() })}
		exporter, err := otlptracehttp.New(t.Context(), append(exporterOptions(os.Getenv), otlptracehttp.WithHTTPClient(client))...)
		if err != nil {
			t.Fatal(err)
		}
		provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
		_, span := provider.Tracer("").Start(t.Context(), "x")
		span.End()
		if went != want {
			t.Errorf("with the endpoint %q spans go to %q, want %q", endpoint, went, want)
		}
	}
}

// A transport notes requests, and answers that all is well.
type transport func(*http.Request)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Header: http.Header{}}, nil
}

func TestTracesWanted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		env  map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, true},
		{map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, false},
		{map[string]string{"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "1"}, true}, // only true is true
		{map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_METRICS_EXPORTER": "otlp"}, false},
	} {
		if got, err := tracesWanted(func(name string) string { return tc.env[name] }); got != tc.want || err != nil {
			t.Errorf("%v: %v, %v", slices.Sorted(maps.Keys(tc.env)), got, err)
		}
	}
}

// However many spans are lost, the log hears of it once a minute.
func TestCollectorErrorsAreRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		c := &collectorErrors{logger: slog.New(slog.NewTextHandler(&out, nil))}
		for range 150 {
			c.Handle(http.ErrServerClosed)
			time.Sleep(time.Second)
		}
		if got := lines(out.String()); len(got) != 3 || !strings.Contains(got[1], "untold=59") {
			t.Errorf("the log has %q", got)
		}
	})
}
