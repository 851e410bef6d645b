package api_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/console"
)

func TestUnknownAddresses(t *testing.T) {
	h := start(t)
	for _, tt := range []struct {
		method, path string
		status       int
		code, allow  string
	}{
		{"GET", "/v2", 404, "not-found", ""},
		{"GET", "/v1/rooms/lobby", 404, "not-found", ""},
		{"GET", "/v1/rooms/lobby/events/", 404, "not-found", ""},
		{"DELETE", "/v1/rooms/lobby/events", 405, "method-not-allowed", "OPTIONS, GET, POST"},
		{"PUT", "/v1/events", 405, "method-not-allowed", "OPTIONS, GET, POST"},
		{"GET", "/v1/broadcast", 405, "method-not-allowed", "OPTIONS, POST"},
		{"POST", "/v1/ws", 405, "method-not-allowed", "OPTIONS, GET"},
	} {
		a := h.request(tt.method, tt.path, "")
		if p := a.problem(t); a.status != tt.status || p.Code != tt.code || a.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d %s, Allow %q", tt.method, tt.path, a.status, p.Code, a.header.Get("Allow"))
		}
	}
}

func TestHeadAndOptions(t *testing.T) {
	h := start(t)
	for _, path := range []string{"/livez", "/readyz"} {
		if a := h.request("HEAD", path, ""); a.status != http.StatusOK || a.body != "" {
			t.Errorf("HEAD %s: %d %q", path, a.status, a.body)
		}
	}
	if a := h.request("HEAD", "/v1/rooms/lobby/events", ""); a.status != http.StatusMethodNotAllowed || a.body != "" {
		t.Errorf("HEAD of a room: %d %q", a.status, a.body)
	}
	a := h.request("OPTIONS", "/v1/rooms/lobby/events", "")
	if a.status != http.StatusNoContent || a.header.Get("Allow") != "OPTIONS, GET, POST" {
		t.Errorf("OPTIONS: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
}

func TestHealth(t *testing.T) {
	h := start(t)
	expect := func(path string, status int, body string) {
		t.Helper()
		if a := h.request("GET", path, ""); a.status != status || strings.TrimSpace(a.body) != body {
			t.Errorf("GET %s: %d %s, want %d %s", path, a.status, a.body, status, body)
		}
	}
	expect("/livez", 200, `{"status":"ok"}`)
	h.log.writesDown.Store(true)
	expect("/readyz", 503, `{"ready":false,"node":"n1","reasons":["log-unavailable"]}`)
	h.log.writesDown.Store(false)
	expect("/readyz", 200, `{"ready":true,"node":"n1","reasons":[]}`)
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	expect("/livez", 200, `{"status":"ok"}`)
	expect("/readyz", 503, `{"ready":false,"node":"n1","reasons":["draining"]}`)
}

func TestMetricsAndConsole(t *testing.T) {
	h := start(t)
	h.publish("lobby", "1")
	h.request("POST", "/v1/broadcast", "")
	a := h.request("GET", "/metrics", "")
	for _, line := range []string{
		`tidemark_published_total{result="logged",transport="rest"} 1`,
		`tidemark_problems_total{code="body-invalid"} 1`,
		`tidemark_connections{transport="sse"} 0`,
		`tidemark_connections{transport="websocket"} 0`,
	} {
		if !slices.Contains(strings.Split(a.body, "\n"), line) {
			t.Errorf("/metrics does not contain %s", line)
		}
	}
	if a := h.request("GET", "/", ""); a.body != "<title>console</title>" {
		t.Errorf("console: %d %q", a.status, a.body)
	}
}

// Without a console and a gatherer their pages do not exist.
func TestDisabledPages(t *testing.T) {
	h := start(t, func(s *setup) { s.api.Console, s.api.Gatherer = nil, nil })
	for _, path := range []string{"/", "/metrics"} {
		if p := h.request("GET", path, "").problem(t); p.Code != "not-found" {
			t.Errorf("GET %s: %s", path, p.Code)
		}
	}
}

// A page that the console does not have gets a problem document.
func TestConsolePageMissing(t *testing.T) {
	h := start(t, func(s *setup) { s.api.Console = console.Handler() })
	for _, path := range []string{"/console/nothing.js", "/console/", "/console/a/../app.js", "/console/%00"} {
		a := h.request("GET", path, "")
		if p := a.problem(t); a.status != http.StatusNotFound || p.Code != "not-found" || a.header.Get("Location") != "" {
			t.Errorf("GET %s: %d %s", path, a.status, a.body)
		}
	}
	if a := h.request("GET", "/console/app.js", ""); a.status != http.StatusOK || a.header.Get("ETag") == "" {
		t.Errorf("app.js: %d %v", a.status, a.header)
	}
}

// A panic in a handler fails one request, not the program.
func TestPanic(t *testing.T) {
	h := start(t, func(s *setup) {
		s.api.Console = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") })
	})
	a := h.request("GET", "/console/x", "")
	if p := a.problem(t); p.Code != "internal" || strings.Contains(a.body, "secret") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// nil options work.
func TestNoOptions(t *testing.T) {
	h := start(t)
	s := api.New(h.node, nil)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
