package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
)

// family returns the metrics with one name.
func (h *harness) family(name string) []*dto.Metric {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.Metric
		}
	}
	return nil
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// Requests are counted by the router's patterns, not by path: the number of series is bounded
// by the number of routes.
func TestRequestsCountByRoute(t *testing.T) {
	h := start(t)
	for i := range 50 {
		h.request("GET", fmt.Sprintf("/v1/rooms/room%d/events", i), "", "Accept", "application/json")
		h.request("GET", fmt.Sprintf("/nowhere/%d", i), "")
		h.request("GET", fmt.Sprintf("/v1/rooms/room%d/nothing", i), "")
		h.request(fmt.Sprintf("WORD%d", i), fmt.Sprintf("/v1/rooms/room%d/events", i), "")
	}
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	got := map[string]float64{}
	for _, m := range h.family("tidemark_http_requests_total") {
		got[label(m, "method")+" "+label(m, "route")+" "+label(m, "status")] = m.Counter.GetValue()
	}
	want := map[string]float64{
		"GET /v1/rooms/:room/events 200": 51, "GET none 404": 100, "other /v1/rooms/:room/events 405": 50,
	}
	for series, n := range want {
		if got[series] != n {
			t.Errorf("%s: %v, want %v", series, got[series], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("series: %v", got)
	}
	for _, m := range h.family("tidemark_http_request_seconds") {
		if label(m, "route") == "/v1/rooms/:room/events" && label(m, "method") == "GET" && m.Histogram.GetSampleCount() != 50 {
			t.Errorf("%d requests were timed, want 50 without the stream", m.Histogram.GetSampleCount())
		}
	}
}

// The delivery lag counts live events and no replayed ones.
func TestDeliveryLag(t *testing.T) {
	h := start(t)
	h.publishMany("lobby", 20)
	s := h.follow("/v1/rooms/lobby/events?since=earliest")
	s.opened()
	for range 20 + 1 { // and tidemark.live
		s.block()
	}
	lag := func() (n uint64) {
		for _, m := range h.family("tidemark_delivery_lag_seconds") {
			n += m.Histogram.GetSampleCount()
		}
		return n
	}
	if n := lag(); n != 0 {
		t.Errorf("%d writes count as live, want none for a replay", n)
	}
	h.publish("lobby", "1")
	s.block()
	for deadline := time.Now().Add(testTimeout); lag() != 1; { // the worker reports it after the write
		if time.Now().After(deadline) {
			t.Fatalf("%d writes count as live, want 1", lag())
		}
	}
}

// A pingLog counts its pings.
type pingLog struct {
	stuckLog
	pings atomic.Int32
	takes time.Duration
	err   error
}

func (l *pingLog) Ping(context.Context) error {
	l.pings.Add(1)
	time.Sleep(l.takes)
	return l.err
}

// However many requests ask for readiness, the log is checked once a second, or one check at
// a time while it does not answer.
func TestReadinessIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &pingLog{takes: 100 * time.Millisecond}
		node := service.New(log, nil)
		defer node.Close()
		handler := api.New(node, nil)
		storm := func() {
			var asking sync.WaitGroup
			for range 100 {
				asking.Go(func() {
					handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/readyz", nil))
				})
				time.Sleep(10 * time.Millisecond)
			}
			asking.Wait()
		}
		storm() // for a second
		if n := log.pings.Swap(0); n != 1 {
			t.Errorf("a log that answers was checked %d times, want once", n)
		}
		time.Sleep(time.Second)
		log.err = context.DeadlineExceeded
		storm()
		if n := log.pings.Load(); n < 2 || n > 11 {
			t.Errorf("a log that does not answer was checked %d times in a second, want one check after the other", n)
		}
	})
}

// ?verbose adds the details.
func TestVerboseHealth(t *testing.T) {
	h := start(t, func(s *setup) { s.api.Version = "v1.2.3" })
	var ready struct {
		Ready  bool
		Detail struct {
			Version, Node string
			Draining      bool
			Log           struct {
				Reachable       bool
				CheckSeconds    float64
				CheckAgeSeconds float64
				PartitionsAway  int
				Probe           any
			}
		}
	}
	a := h.request("GET", "/readyz?verbose", "")
	if err := json.Unmarshal([]byte(a.body), &ready); err != nil || a.status != http.StatusOK {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	if d := ready.Detail; !ready.Ready || d.Version != "v1.2.3" || d.Node != "n1" || d.Draining || !d.Log.Reachable || d.Log.Probe != nil {
		t.Errorf("%s", a.body)
	}
	if l := ready.Detail.Log; l.CheckSeconds <= 0 || l.CheckAgeSeconds > time.Hour.Seconds() {
		t.Errorf("the details do not describe the check of this request: %s", a.body)
	}
	if a := h.request("GET", "/livez?verbose", ""); !strings.Contains(a.body, `"version":"v1.2.3"`) {
		t.Errorf("livez: %s", a.body)
	}
}

// A record is one line of the access log.
type record struct {
	Msg, Method, Route, Path, Client, User, Request, Code string
	Status, Events                                        int
	Bytes                                                 int64
	Seconds                                               float64
}

// accessLog collects the lines of an access log.
type accessLog struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (l *accessLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(b))
	return len(b), nil
}

// next waits for the next line and removes it.
func (l *accessLog) next(t *testing.T) (r record, text string) {
	t.Helper()
	for deadline := time.Now().Add(testTimeout); ; time.Sleep(time.Millisecond) {
		l.mu.Lock()
		if len(l.lines) > 0 {
			text, l.lines = l.lines[0], l.lines[1:]
		}
		l.mu.Unlock()
		switch {
		case text != "":
			if err := json.Unmarshal([]byte(text), &r); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
			return r, text
		case time.Now().After(deadline):
			t.Fatal("the access log has no more lines")
		}
	}
}

func withAccessLog(l *accessLog) func(*setup) {
	return func(s *setup) { s.api.AccessLog = slog.New(slog.NewJSONHandler(l, nil)) }
}

// Each request makes a line, without its query.
func TestAccessLog(t *testing.T) {
	var log accessLog
	h := start(t, withAccessLog(&log), withAuth(t))
	credential := token(t, time.Hour, access.Scopes{Publish: []string{"*"}, Subscribe: []string{"*"}})
	bearer := []string{"Authorization", "Bearer " + credential}
	for _, tt := range []struct {
		method, path, body string
		header             []string
		want               record
	}{
		{"POST", "/v1/rooms/lobby/events?x=1", `{"data":1}`, bearer, record{Route: "/v1/rooms/:room/events", Path: "/v1/rooms/lobby/events", Status: 201, User: "ann"}},
		{"POST", "/v1/rooms/lobby/events?access_token=" + credential, `{}`, nil, record{Route: "/v1/rooms/:room/events", Path: "/v1/rooms/lobby/events", Status: 400, User: "ann", Code: "body-invalid"}},
		{"GET", "/v1/rooms/lobby/events", "", nil, record{Route: "/v1/rooms/:room/events", Path: "/v1/rooms/lobby/events", Status: 401, Code: "unauthorized"}},
		{"GET", "/no/where", "", nil, record{Route: "none", Path: "/no/where", Status: 404, Code: "not-found"}},
		{"GET", "/livez", "", nil, record{Route: "/livez", Path: "/livez", Status: 200}},
	} {
		a := h.request(tt.method, tt.path, tt.body, tt.header...)
		got, text := log.next(t)
		if strings.Contains(text, credential) || strings.Contains(text, "access_token") || strings.Contains(text, "x=1") {
			t.Errorf("the query is in %s", text)
		}
		if got.Request == "" || got.Request != a.header.Get("X-Request-Id") {
			t.Errorf("the log has the request id %q, the answer %q", got.Request, a.header.Get("X-Request-Id"))
		}
		if got.Bytes != int64(len(a.body)) || got.Client != "127.0.0.1" || got.Seconds <= 0 {
			t.Errorf("%s: the answer had %d bytes", text, len(a.body))
		}
		got.Msg, got.Client, got.Bytes, got.Seconds, got.Request = "", "", 0, 0, ""
		if tt.want.Method = tt.method; got != tt.want {
			t.Errorf("%+v, want %+v", got, tt.want)
		}
	}
}

// A request id of the client is used if it is safe in a log. Otherwise the server makes one.
func TestRequestID(t *testing.T) {
	var log accessLog
	h := start(t, withAccessLog(&log))
	for id, accepted := range map[string]bool{"a-b.c_1": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "a b": false, "a\"b": false, "é": false} {
		a := h.request("GET", "/livez", "", "X-Request-Id", id)
		if got, _ := log.next(t); (got.Request == id) != accepted || a.header.Get("X-Request-Id") != got.Request {
			t.Errorf("%.20q: the log has %.20q", id, got.Request)
		}
	}
}

// A connection makes a line when it ends, with the reason.
func TestAccessLogOfConnections(t *testing.T) {
	var log accessLog
	h := start(t, withAccessLog(&log))
	ended := func(route, code string, status, events int) {
		t.Helper()
		got, text := log.next(t)
		for got.Method == "POST" || got.Route == "/livez" {
			got, text = log.next(t)
		}
		if got.Route != route || got.Status != status || got.Events != events || got.Code != code || got.Bytes == 0 {
			t.Errorf("%s\nwant %s %d, %d events, %s", text, route, status, events, code)
		}
	}
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.block() // live
	h.publishMany("lobby", 3)
	for range 3 {
		s.block()
	}
	s.body.Close()
	ended("/v1/rooms/:room/events", "client-left", 200, 3)

	c := h.dial()
	c.send(`{"op":"ping"}`)
	c.frame()
	c.Close()
	ended("/v1/ws", "client-left", 101, 0)

	s = h.follow("/v1/events?room=lobby")
	s.opened()
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	ended("/v1/events", "draining", 200, 0)
}

// Anyone may ask whether the node is ready. A node that is not ready logs one line in a
// while.
func TestReadinessIsLoggedRarely(t *testing.T) {
	var logged lockedBuffer
	h := start(t, func(s *setup) { s.api.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	h.log.writesDown.Store(true)
	for range 20 {
		if a := h.request("GET", "/readyz", ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if n := strings.Count(logged.String(), "the node is not ready"); n < 1 || n > 10 {
		t.Errorf("%d lines for 20 requests:\n%s", n, logged.String())
	}
}
