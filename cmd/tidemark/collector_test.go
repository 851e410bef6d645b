package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// A collector accepts spans over OTLP, like an operator's collector.
//
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
type collector struct {
	t *testing.T
	*httptest.Server

	mu     sync.Mutex // guards the fields below
	bodies []byte     // of all requests, concatenated
	spans  []span
	calls  int // number of requests
}

// A span was sent by a node.
type span struct {
	node string // the node's name
	*spans.Span
}

// startCollector runs a collector until the test ends.
func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var sent spans.TracesData // has the same encoding as an ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &sent)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s of %s: %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
	c.bodies = append(c.bodies, body...)
	for _, from := range sent.ResourceSpans {
		var node string
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.instance.id" {
				node = a.Value.GetStringValue()
			}
		}
		for _, scope := range from.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans = append(c.spans, span{node, s})
			}
		}
	}
}

// await waits for a span that fits and returns the first one.
func (c *collector) await(what string, fits func(span) bool) span {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		c.mu.Lock()
		for _, s := range c.spans {
			if fits(s) {
				c.mu.Unlock()
				return s
			}
		}
		n := len(c.spans)
		c.mu.Unlock()
		if time.Now().After(deadline) {
			c.t.Fatalf("no span %s among %d", what, n)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// received returns the number of requests and their concatenated bodies.
func (c *collector) received() (calls int, bodies []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls, append([]byte(nil), c.bodies...)
}
