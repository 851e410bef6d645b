package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/streams"
)

func TestPublish(t *testing.T) {
	for path, room := range map[string]string{
		"/v1/rooms/lobby/events":           "lobby",
		"/v1/rooms/%61%3Ab/events":         "a:b",
		"/v1/rooms/a=b@c|d,e~f+g-h/events": "a=b@c|d,e~f+g-h",
		"/v1/users/ann/events":             "@ann",
		"/v1/broadcast":                    "$all",
		"/v1/rooms/$all/events":            "$all",
	} {
		h := start(t)
		a := h.request("POST", path, ` {"type":"note", "data":{"a": [1, "ü"]}} `)
		want := fmt.Sprintf(`{"id":%q,"room":%q,"durability":"fsynced"}`+"\n", a.id(t), room)
		if a.status != http.StatusCreated || a.body != want {
			t.Errorf("POST %s: %d %s, want 201 %s", path, a.status, a.body, want)
		}
		id, err := streams.ParseID(a.id(t))
		if err != nil {
			t.Fatal(err)
		}
		kept, err := h.log.After(t.Context(), streams.Room(room), streams.ID{}, id, streams.ReadLimit{Events: 10, Bytes: 1 << 20})
		if err != nil || len(kept.Events) != 1 || kept.Events[0].ID != id || kept.Events[0].Type != "note" || string(kept.Events[0].Data) != `{"a":[1,"ü"]}` {
			t.Errorf("POST %s: the log has %+v, %v", path, kept, err)
		}
	}
}

// Data may be any JSON value, also null.
func TestPublishAnyValue(t *testing.T) {
	h := start(t)
	for _, data := range []string{`null`, `0`, `""`, `false`, `[]`, `"\u2028"`} {
		h.publish("values", data)
	}
}

// An invalid publish gets one problem document and changes nothing.
func TestPublishRefuses(t *testing.T) {
	const ok = `{"data":1}`
	room := "/v1/rooms/lobby/events"
	tests := []struct {
		name, path, body string
		status           int
		code             string
		header           []string
	}{
		{"nul in the name", "/v1/rooms/a%00/events", ok, 400, "room-invalid", nil},
		{"dots", "/v1/rooms/%2e%2e/events", ok, 400, "room-invalid", nil},
		{"star", "/v1/rooms/a*/events", ok, 400, "room-invalid", nil},
		{"slash", "/v1/rooms/a%2Fb/events", ok, 400, "room-invalid", nil},
		{"encoded twice", "/v1/rooms/%2541/events", ok, 400, "room-invalid", nil},
		{"no name", "/v1/rooms//events", ok, 400, "room-invalid", nil},
		{"long name", "/v1/rooms/" + strings.Repeat("a", 201) + "/events", ok, 400, "room-invalid", nil},
		{"system room", "/v1/rooms/$sys/events", ok, 400, "room-invalid", nil},
		{"no user", "/v1/users//events", ok, 400, "room-invalid", nil},
		{"slash in the name, as it is", "/v1/rooms/a/b/events", ok, 404, "not-found", nil},

		{"empty body", room, ``, 400, "body-invalid", nil},
		{"not JSON", room, `data=1`, 400, "body-invalid", nil},
		{"not an object", room, `[1]`, 400, "body-invalid", nil},
		{"cut short", room, `{"data":1`, 400, "body-invalid", nil},
		{"more after it", room, `{"data":1} {}`, 400, "body-invalid", nil},
		{"garbage after it", room, `{"data":1}x`, 400, "body-invalid", nil},
		{"no data", room, `{"type":"a"}`, 400, "body-invalid", nil},
		{"unknown field", room, `{"data":1,"ttl":5}`, 400, "body-invalid", nil},
		{"field of another case", room, `{"data":1,"Type":"a"}`, 400, "body-invalid", nil},
		{"field twice", room, `{"data":1,"data":2}`, 400, "body-invalid", nil},
		{"key in the body", room, `{"data":1,"key":"k"}`, 400, "body-invalid", nil},
		{"not UTF-8", room, "{\"data\":\"\xff\"}", 400, "body-invalid", nil},
		{"type of another kind", room, `{"data":1,"type":7}`, 400, "body-invalid", nil},
		{"too deep for anything", room, `{"data":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + `}`, 400, "body-invalid", nil},

		{"type with a space", room, `{"data":1,"type":"a b"}`, 400, "type-invalid", nil},
		{"type with a line", room, `{"data":1,"type":"a\nb"}`, 400, "type-invalid", nil},
		{"reserved type", room, `{"data":1,"type":"tidemark.gap"}`, 400, "type-invalid", nil},
		{"long type", room, `{"data":1,"type":"` + strings.Repeat("a", 65) + `"}`, 400, "type-invalid", nil},
		{"too deep", room, `{"data":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, 400, "data-too-deep", nil},
		{"too much data", room, `{"data":"` + strings.Repeat("a", 64<<10) + `"}`, 413, "data-too-large", nil},
		{"too much of anything", room, `{"data":"` + strings.Repeat("a", 256<<10) + `"}`, 413, "body-too-large", nil},

		{"empty key", room, ok, 400, "key-invalid", []string{"Idempotency-Key", ""}},
		{"long key", room, ok, 400, "key-invalid", []string{"Idempotency-Key", strings.Repeat("k", 256)}},
		{"key not ASCII", room, ok, 400, "key-invalid", []string{"Idempotency-Key", "clé"}},
		{"two keys", room, ok, 400, "key-invalid", []string{"Idempotency-Key", "a", "Idempotency-Key", "b"}},
		{"a form", room, ok, 415, "media-type-unsupported", []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"nonsense for a type", room, ok, 415, "media-type-unsupported", []string{"Content-Type", ";"}},
		{"long headers", room, ok, 431, "header-too-large", []string{"X-Long", strings.Repeat("a", 64<<10)}},
	}
	h := start(t)
	before := h.newest()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := h.request("POST", tt.path, tt.body, tt.header...)
			if p := a.problem(t); a.status != tt.status || p.Code != tt.code {
				t.Errorf("%d %s (%s), want %d %s", a.status, p.Code, p.Detail, tt.status, tt.code)
			}
		})
	}
	if now := h.newest(); now != before {
		t.Errorf("the log has a new event %s", now)
	}
}

// The detail of a problem names the field.
func TestPublishNamesTheField(t *testing.T) {
	h := start(t)
	p := h.request("POST", "/v1/broadcast", `{"data":1,"ttl":5}`).problem(t)
	if !strings.Contains(p.Detail, `unknown field "ttl"`) {
		t.Errorf("detail %q", p.Detail)
	}
}

func TestContentTypes(t *testing.T) {
	h := start(t)
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		if a := h.request("POST", "/v1/broadcast", `{"data":1}`, "Content-Type", kind); a.status != http.StatusCreated {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
		}
	}
}

func TestIdempotency(t *testing.T) {
	h := start(t)
	send := func(room, body string) answer {
		return h.request("POST", "/v1/rooms/"+room+"/events", body, "Idempotency-Key", "k 1")
	}
	first := send("lobby", `{"data":{"n":1}}`)
	if first.status != http.StatusCreated || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("first: %d %v", first.status, first.header)
	}
	repeat := send("lobby", `{ "data": {"n": 1}, "type":"message"}`) // the same content, written differently
	if repeat.status != http.StatusOK || repeat.body != first.body || repeat.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("repeat: %d %s %v, want 200 %s", repeat.status, repeat.body, repeat.header, first.body)
	}
	newest := h.newest()
	other := send("lobby", `{"data":{"n":2}}`)
	if p := other.problem(t); other.status != http.StatusUnprocessableEntity || p.Code != "key-reused" {
		t.Errorf("other content: %d %s", other.status, p.Code)
	}
	if h.newest() != newest {
		t.Error("other content was stored")
	}
	if a := send("hall", `{"data":{"n":2}}`); a.status != http.StatusCreated {
		t.Errorf("another room: %d", a.status)
	}
}

// A failure of the log reaches the publisher as a code without details.
func TestPublishWhileTheLogFails(t *testing.T) {
	tests := []struct {
		err   error
		code  string
		retry bool
	}{
		{errSecret, "log-unavailable", true},
		{fmt.Errorf("%w: OOM secret", streams.ErrRefused), "log-refused", false},
		{streams.ErrClosed, "draining", true},
		{errors.New("secret"), "internal", false},
	}
	h := start(t)
	for _, tt := range tests {
		h.log.appendErr.Store(&tt.err)
		a := h.request("POST", "/v1/broadcast", `{"data":1}`)
		p := a.problem(t)
		if p.Code != tt.code || (a.header.Get("Retry-After") != "") != tt.retry || strings.Contains(a.body, "secret") {
			t.Errorf("%v: %d %s, Retry-After %q", tt.err, a.status, a.body, a.header.Get("Retry-After"))
		}
		if want := 503; tt.code != "internal" && a.status != want {
			t.Errorf("%v: status %d, want %d", tt.err, a.status, want)
		}
	}
}

// batch sends a batch and returns its results.
func (h *harness) batch(events string) []result {
	h.t.Helper()
	a := h.request("POST", "/v1/events", `{"events":`+events+`}`)
	if a.status != http.StatusOK {
		h.t.Fatalf("batch: %d %s", a.status, a.body)
	}
	var r struct{ Results []result }
	if err := json.Unmarshal([]byte(a.body), &r); err != nil {
		h.t.Fatal(err)
	}
	return r.Results
}

type result struct {
	ID, Room, Durability string
	Replayed             bool
	Error                *problem
	Rooms                []result
}

// code returns the code of the result's problem; "" without one.
func (r result) code() string {
	if r.Error == nil {
		return ""
	}
	return r.Error.Code
}

func TestBatch(t *testing.T) {
	h := start(t)
	got := h.batch(`[
		{"room":"a","data":1,"key":"k"},
		{"rooms":["a","b*","c"],"type":"x","data":2},
		{"user":"ann","data":3},
		{"room":"a","data":1,"key":"k"},
		{"room":"$all","data":null}]`)
	if len(got) != 5 {
		t.Fatalf("%d results: %+v", len(got), got)
	}
	if got[0].ID == "" || got[0].Room != "a" || got[2].Room != "@ann" || got[4].Room != "$all" {
		t.Errorf("results %+v", got)
	}
	if r := got[1].Rooms; len(r) != 3 || r[0].ID == "" || r[1].code() != "room-invalid" || r[1].Room != "b*" || r[2].ID == "" {
		t.Errorf("several rooms: %+v", got[1])
	}
	if got[3].ID != got[0].ID || !got[3].Replayed || got[0].Replayed {
		t.Errorf("repeat %+v of %+v", got[3], got[0])
	}
	ids := []string{got[0].ID, got[1].Rooms[0].ID, got[1].Rooms[2].ID, got[2].ID, got[4].ID}
	for i := range ids[1:] {
		if ids[i] >= ids[i+1] {
			t.Errorf("ids do not rise: %v", ids)
		}
	}
}

// Events of a batch fail independently. Repeating the batch stores those that failed.
func TestBatchFailsInPart(t *testing.T) {
	h := start(t)
	before := h.newest()
	for event, code := range map[string]string{
		`{"data":1}`:                               "body-invalid",
		`{"room":"a","user":"b","data":1}`:         "body-invalid",
		`{"room":"a"}`:                             "body-invalid",
		`{"room":7,"data":1}`:                      "body-invalid",
		`{"user":7,"data":1}`:                      "body-invalid",
		`{"rooms":7,"data":1}`:                     "body-invalid",
		`{"rooms":[],"data":1}`:                    "body-invalid",
		`{"rooms":[null],"data":1}`:                "body-invalid",
		`{"rooms":["a","a"],"data":1}`:             "body-invalid",
		`{"room":"a","data":1,"x":1}`:              "body-invalid",
		`7`:                                        "body-invalid",
		`{"room":"..","data":1}`:                   "room-invalid",
		`{"user":"","data":1}`:                     "room-invalid",
		`{"room":"a","data":1,"type":"tidemark."}`: "type-invalid",
		`{"room":"a","data":1,"key":""}`:           "key-invalid",
		`{"room":"a","data":1,"key":null}`:         "body-invalid",
	} {
		if got := h.batch("[" + event + "]"); len(got) != 1 || got[0].code() != code || got[0].ID != "" {
			t.Errorf("%s: %+v, want %s", event, got, code)
		}
	}
	if h.newest() != before {
		t.Error("something was stored")
	}

	first := h.batch(`[{"room":"a","data":1,"key":"1"},{"room":"a","data":2,"type":"?","key":"2"}]`)
	again := h.batch(`[{"room":"a","data":1,"key":"1"},{"room":"a","data":2,"key":"2"}]`)
	if again[0].ID != first[0].ID || !again[0].Replayed || again[1].ID == "" || again[1].Replayed {
		t.Errorf("first %+v, then %+v", first, again)
	}
}

func TestBatchRefused(t *testing.T) {
	many := func(n int, event string) string {
		return `{"events":[` + strings.TrimSuffix(strings.Repeat(event+",", n), ",") + `]}`
	}
	h := start(t, func(s *setup) { s.api.MaxBatch, s.api.MaxBody = 4, 1<<10 })
	before := h.newest()
	for _, tt := range []struct {
		body, code string
		header     []string
	}{
		{`{}`, "body-invalid", nil},
		{`{"events":{}}`, "body-invalid", nil},
		{`{"events":[],"x":1}`, "body-invalid", nil},
		{many(5, `{"room":"a","data":1}`), "batch-too-large", nil},
		{many(2, `{"rooms":["a","b","c"],"data":1}`), "batch-too-large", nil},
		{many(1, `{"room":"a","data":"`+strings.Repeat("a", 1<<10)+`"}`), "body-too-large", nil},
		{many(1, `{"room":"a","data":1}`), "key-invalid", []string{"Idempotency-Key", "k"}},
	} {
		a := h.request("POST", "/v1/events", tt.body, tt.header...)
		if p := a.problem(t); p.Code != tt.code {
			t.Errorf("%.60s: %d %s (%s), want %s", tt.body, a.status, p.Code, p.Detail, tt.code)
		}
	}
	if h.newest() != before {
		t.Error("something was stored")
	}
	if got := h.batch(`[]`); len(got) != 0 {
		t.Errorf("an empty batch: %+v", got)
	}
}

func TestBatchWhileTheLogIsUnavailable(t *testing.T) {
	h := start(t)
	h.log.writesDown.Store(true)
	got := h.batch(`[{"room":"a","data":1},{"rooms":["b"],"data":1}]`)
	if got[0].code() != "log-unavailable" || got[1].Rooms[0].code() != "log-unavailable" || strings.Contains(got[0].Error.Detail, "secret") {
		t.Errorf("results %+v", got)
	}
}

// Every kind of problem has an error status and a title, and each code has one title.
func TestProblems(t *testing.T) {
	codes := api.Codes()
	titles := make(map[string]string)
	for _, c := range codes {
		if c.Title == "" || c.Status < 400 {
			t.Errorf("%+v", c)
		}
		if other, ok := titles[c.Code]; ok && other != c.Title {
			t.Errorf("%s is both %q and %q", c.Code, c.Title, other)
		}
		titles[c.Code] = c.Title
	}
}

// A publish that has begun is stored even if its client leaves meanwhile, because its outcome
// would be unknown otherwise.
func TestPublishOutlivesItsClient(t *testing.T) {
	h := start(t)
	for path, body := range map[string]string{
		"/v1/rooms/a/events": `{"data":1}`,
		"/v1/events":         `{"events":[{"room":"a","data":1}]}`,
	} {
		ctx, leave := context.WithCancel(t.Context())
		h.log.onAppend.Store(new(func(ctx context.Context) {
			leave()
			if err := ctx.Err(); err != nil {
				t.Errorf("%s: the append has ended with the client: %v", path, err)
			}
		}))
		h.api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", path, strings.NewReader(body)))
	}
	if n := len(h.history("a", "").Events); n != 2 {
		t.Errorf("%d events are stored, want 2", n)
	}
}
