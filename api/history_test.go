package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

type page struct {
	Room   string
	Events []struct {
		ID, Type, Time string
		Data           json.RawMessage
	}
	Next      *string
	Truncated bool
}

// history reads a page. query begins with "?" or is empty.
func (h *harness) history(room, query string) page {
	h.t.Helper()
	a := h.request("GET", "/v1/rooms/"+room+"/events"+query, "")
	if a.status != http.StatusOK || a.header.Get("Vary") != "Accept" || a.header.Get("Content-Type") != "application/json" {
		h.t.Fatalf("history %s: %d %v %s", query, a.status, a.header, a.body)
	}
	var p page
	if err := json.Unmarshal([]byte(a.body), &p); err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (p page) ids() []string {
	ids := []string{}
	for _, e := range p.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

func TestHistoryToTheByte(t *testing.T) {
	h := start(t)
	a := h.request("POST", "/v1/rooms/lobby/events", `{"type":"note","data":{"a":"<&>"}}`)
	id, err := streams.ParseID(a.id(t))
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`{"room":"lobby","events":[{"id":"%s","type":"note","data":{"a":"<&>"},"time":"%s"}],"next":null,"truncated":false}`+"\n",
		id, id.Time().Format("2006-01-02T15:04:05.000Z"))
	if got := h.request("GET", "/v1/rooms/lobby/events", "").body; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	want = `{"room":"hall","events":[],"next":null,"truncated":false}` + "\n"
	if got := h.request("GET", "/v1/rooms/hall/events", "").body; got != want {
		t.Errorf("an empty room: %s", got)
	}
}

// Following next returns every event once, in both orders, at every page size.
func TestHistoryInPages(t *testing.T) {
	h := start(t)
	ids := h.publishMany("lobby", 7)
	for _, order := range []string{"asc", "desc"} {
		want := slices.Clone(ids)
		bound := "after"
		if order == "desc" {
			slices.Reverse(want)
			bound = "before"
		}
		for limit := 1; limit <= 8; limit++ {
			query := fmt.Sprintf("?order=%s&limit=%d", order, limit)
			p := h.history("lobby", query)
			got := p.ids()
			for p.Next != nil {
				p = h.history("lobby", query+"&"+bound+"="+*p.Next)
				got = append(got, p.ids()...)
			}
			if !slices.Equal(got, want) || p.Truncated {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
		}
	}
	if got := h.history("lobby", "?after="+ids[1]+"&before="+ids[4]).ids(); !slices.Equal(got, ids[2:4]) {
		t.Errorf("between: %v, want %v", got, ids[2:4])
	}
}

func TestHistoryTruncated(t *testing.T) {
	h := start(t, func(s *setup) {
		s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: 1, Age: service.DefaultRetention().Age}}}
	})
	ids := h.publishMany("lobby", streams.ExtraKept+3)
	if p := h.history("lobby", "?limit=1000&after="+ids[0]); !p.Truncated {
		t.Errorf("%d events and not truncated", len(p.Events))
	}
	if p := h.history("lobby", "?limit=1000"); p.Truncated {
		t.Error("a page that reaches the oldest event is marked as truncated")
	}
}

func TestHistoryRefuses(t *testing.T) {
	h := start(t)
	for query, code := range map[string]string{
		"?limit=0":                             "limit-invalid",
		"?limit=1001":                          "limit-invalid",
		"?limit=many":                          "limit-invalid",
		"?order=up":                            "order-invalid",
		"?after=x":                             "cursor-invalid",
		"?before=0123":                         "cursor-invalid",
		"?after=" + strings.Repeat("x", 1<<15): "cursor-invalid",
	} {
		a := h.request("GET", "/v1/rooms/lobby/events"+query, "")
		if p := a.problem(t); a.status != http.StatusBadRequest || p.Code != code {
			t.Errorf("%.40s: %d %s, want %s", query, a.status, p.Code, code)
		}
	}
	h.log.watermarksDown.Store(true)
	a := h.request("GET", "/v1/rooms/lobby/events", "")
	if p := a.problem(t); a.status != http.StatusServiceUnavailable || p.Code != "log-unavailable" || a.header.Get("Retry-After") == "" {
		t.Errorf("without a log: %d %s", a.status, a.body)
	}
}

// The Accept header chooses between a stream and a page.
func TestAccept(t *testing.T) {
	h := start(t)
	room, several := "/v1/rooms/lobby/events", "/v1/events?room=lobby"
	for _, tt := range []struct{ path, accept, want string }{
		{room, "text/event-stream", "text/event-stream"},
		{room, "application/json, text/event-stream;q=0.5", "text/event-stream"},
		{room, "Text/Event-Stream", "text/event-stream"},
		{room, "", "application/json"},
		{room, "*/*", "application/json"},
		{room, "application/json", "application/json"},
		{room, "application/*", "application/json"},
		{room, "text/html, */*;q=0.8", "application/json"},
		{room, "application/json, text/event-stream;q=0", "application/json"},
		{room, "text/html", "application/problem+json"},
		{room, "application/json;q=0", "application/problem+json"},
		{several, "text/event-stream", "text/event-stream"},
		{several, "", "text/event-stream"},
		{several, "*/*", "text/event-stream"},
		{several, "application/json", "application/problem+json"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", h.url+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["Accept"] = []string{tt.accept}
		resp, err := h.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		got := resp.Header.Get("Content-Type")
		if got != tt.want || resp.Header.Get("Vary") != "Accept" || got == "application/problem+json" && resp.StatusCode != http.StatusNotAcceptable {
			t.Errorf("%s, Accept %q: %d %s", tt.path, tt.accept, resp.StatusCode, got)
		}
	}
}
