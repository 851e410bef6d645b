package main

import (
	"bytes"
	"encoding/hex"
	"net/http"
	"strings"
	"syscall"
	"testing"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

// tracedTo returns the environment of a node that sends its spans to c.
func tracedTo(c *collector, env ...string) program.Options {
	return program.Options{Env: append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=50"}, env...)}
}

// publishTraced publishes to lobby with a token, as part of a trace that the client started.
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

// A trace connects a publish at one node, the call to Redis and the delivery at another node. It
// contains no data, key or token.
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

	tidemark.Must(t, with(a, token), "publish", "lobby", `"a first event"`)
	tail.Stdout.AwaitText(t, "a first event")
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
	_, all := c.received()
	for _, sign := range []string{"SECRET", "eyJ", token, "access_token"} {
		if bytes.Contains(all, []byte(sign)) {
			t.Errorf("the spans contain %q", sign)
		}
	}
	if !bytes.Contains(all, []byte("lobby")) {
		t.Error("the spans do not even contain the room, so this tests nothing")
	}
}

// A node sends its queued spans before it stops.
func TestLastSpansAreSent(t *testing.T) {
	t.Parallel()
	c := startCollector(t)
	s := tidemark.Serve(t, program.Options{Env: []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_BSP_SCHEDULE_DELAY=3600000"}}, "--data", t.TempDir())
	tidemark.Must(t, at(s), "publish", "lobby", "1")
	if calls, _ := c.received(); calls != 0 {
		t.Fatalf("%d requests before the node stopped", calls)
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	c.await("of the publish", func(s span) bool { return s.Name == "POST /v1/rooms/:room/events" })
}

// Without settings for traces, a node connects to no collector, even if requests are traced.
func TestNoTraces(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"not set":     {},
		"disabled":    {"OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=otlp"},
		"no exporter": {"OTEL_TRACES_EXPORTER=none"},
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
			if calls, _ := c.received(); calls != 0 {
				t.Errorf("%d requests", calls)
			}
			if strings.Contains(s.Stderr.String(), "trace") {
				t.Errorf("the log mentions traces:\n%s", s.Stderr)
			}
		})
	}
}

// An unavailable collector loses only spans, and the node logs it.
func TestCollectorUnavailable(t *testing.T) {
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
		t.Errorf("the log reports lost spans %d times", n)
	}
}

// The log does not contain a collector's key, even from a malformed variable.
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
		t.Errorf("the log contains it:\n%s", s.Stderr)
	}
}

// An unsupported setting for traces stops the start with one line.
func TestUnsupportedTracing(t *testing.T) {
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
			t.Errorf("%v: exit code %d, want %d and one line with the reason:\n%s", env, code, exitUsage, stderr)
		}
		if stdout, stderr, code := tidemark.Run(t, program.Options{Env: env}, "config", "check"); code == exitOK || !strings.Contains(stdout+stderr, "OTEL_") {
			t.Errorf("%v: config check does not report it:\n%s%s", env, stdout, stderr)
		}
	}
}
