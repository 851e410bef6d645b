package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/limits"
)

// A fakeLimiter grants all or nothing and records the requests.
type fakeLimiter struct {
	rate  limits.Rate
	state limits.Decision // the decision; Granted is the whole request unless RetryAfter is set

	mu    sync.Mutex // guards asked
	asked []string   // "caller n"
}

func (g *fakeLimiter) Rate() limits.Rate { return g.rate }

func (g *fakeLimiter) Take(_ context.Context, caller string, n, _ int) limits.Decision {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, fmt.Sprint(caller, " ", n))
	s := g.state
	if s.RetryAfter == 0 {
		s.Granted = n
	}
	return s
}

// Peek records only a refusal.
func (g *fakeLimiter) Peek(_ context.Context, caller string) limits.Decision {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state.Remaining == 0 {
		g.asked = append(g.asked, "peek "+caller)
	}
	return g.state
}

// requests returns the requests since the last call.
func (g *fakeLimiter) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	asked := g.asked
	g.asked = nil
	return asked
}

// exhausted grants nothing for a minute, available grants everything.
func exhausted() *fakeLimiter {
	return &fakeLimiter{rate: limits.Rate{Events: 1, Per: time.Minute, Burst: 100}, state: limits.Decision{RetryAfter: time.Minute}}
}

func available() *fakeLimiter {
	return &fakeLimiter{rate: limits.Rate{Events: 6, Per: time.Minute, Burst: 100}, state: limits.Decision{Remaining: 7, ResetAfter: 930 * time.Second}}
}

func withRates(publisher, address limits.RateLimiter) func(*setup) {
	return func(s *setup) { s.api.PublishRate, s.api.AddressRate = publisher, address }
}

// Every route and operation that stores an event asks the rate limiters first, and stores
// nothing if one of them refuses.
func TestEveryPublishAsksTheRateLimiters(t *testing.T) {
	for _, tt := range []struct {
		name               string
		publisher, address *fakeLimiter
		mayPublish         bool
	}{
		{"both available", available(), available(), true},
		{"publisher exhausted", exhausted(), available(), false},
		{"address exhausted", available(), exhausted(), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, withAuth(t), withRates(tt.publisher, tt.address))
			known, published := routeCases(), 0
			bearer := "Bearer " + token(t, time.Hour, all("*"))
			ask := func(what string, do func()) {
				t.Helper()
				tt.publisher.requests()
				tt.address.requests()
				before := h.newest()
				do()
				stored := h.newest() != before
				byAddress, byUser := tt.address.requests(), tt.publisher.requests()
				switch {
				case stored && !tt.mayPublish:
					t.Errorf("%s: something was stored", what)
				case stored && (len(byAddress) != 1 || len(byUser) != 1 || byAddress[0] != "127.0.0.1/32 1" || byUser[0] != "user ann 1"):
					t.Errorf("%s: stored, and the limiters were asked for %q, %q", what, byAddress, byUser)
				case len(byAddress)+len(byUser) > 0:
					published++
				}
			}
			for _, route := range api.Routes(h.api) {
				method, _, _ := strings.Cut(route, " ")
				for _, r := range known[route] {
					if r.path == "/v1/ws" {
						continue
					}
					ask(route+" "+r.body, func() {
						res, body := h.ask(t, method, r.path, r.body, http.Header{"Authorization": {bearer}, "Accept": {or(r.accept, "*/*")}})
						if method == "POST" && !tt.mayPublish && (res.StatusCode != 429 || !strings.Contains(body, `"code":"rate-limited"`)) {
							t.Errorf("%s: %d %s", route, res.StatusCode, body)
						}
						if res.StatusCode == 429 && (method != "POST" || res.Header.Get("Retry-After") != "60") {
							t.Errorf("%s: %d %v", route, res.StatusCode, res.Header)
						}
					})
				}
			}
			ws, status := h.handshake(t, "/v1/ws", http.Header{"Authorization": {bearer}})
			if ws == nil {
				t.Fatal(status)
			}
			for i, op := range socketOps() {
				ask(op, func() {
					ws.send(strings.TrimSuffix(op, "}") + fmt.Sprintf(`,"ref":%d}`, i))
					answer := ws.frame()
					for !strings.HasSuffix(answer, fmt.Sprintf(`,"ref":%d}`, i)) {
						answer = ws.frame()
					}
					if refused := strings.HasPrefix(answer, `{"op":"error","code":"rate-limited"`); refused && tt.mayPublish || !refused && !tt.mayPublish && strings.Contains(op, "publish") {
						t.Errorf("%s: %s", op, answer)
					}
				})
			}
			if want := 7; published != want && !tt.mayPublish { // by six requests and one operation
				t.Errorf("%d publishes asked, want %d", published, want)
			}
		})
	}
}

// Answers report the rate limits in the headers of the draft, whether the publish succeeds or
// not. A batch counts its events, and is stored as a whole or not at all.
func TestRateHeaders(t *testing.T) {
	publisher, address := available(), available()
	address.rate, address.state.Remaining = limits.Rate{Events: 50, Per: time.Second, Burst: 10}, 3
	h := start(t, withRates(publisher, address))
	const single, batch = `{"data":1}`, `{"events":[{"rooms":["a","b"],"data":1},{"room":"a","data":2},{"room":"*","data":3}]}`
	expect := func(path, body string, status int, wait, limit, policy string) {
		t.Helper()
		a := h.request("POST", path, body)
		got := [...]string{a.header.Get("Retry-After"), strings.Join(a.header.Values("RateLimit"), ", "), strings.Join(a.header.Values("RateLimit-Policy"), ", ")}
		if a.status != status || got != [...]string{wait, limit, policy} {
			t.Errorf("%d %q %s", a.status, got, a.body)
		}
	}
	const both = `"address";q=10;w=1, "publisher";q=100;w=1000`
	expect("/v1/rooms/a/events", single, 201, "", `"address";r=3;t=930, "publisher";r=7;t=930`, both)
	expect("/v1/events", batch, 200, "", `"address";r=3;t=930, "publisher";r=7;t=930`, both)
	if asked := publisher.requests(); len(asked) != 2 || asked[1] != "anyone 3" {
		t.Errorf("asked for %q", asked)
	}
	before := h.newest()
	publisher.state = limits.Decision{Remaining: 2, RetryAfter: 1500 * time.Millisecond, ResetAfter: time.Hour}
	expect("/v1/rooms/a/events", single, 429, "2", `"publisher";r=2;t=2`, both)
	expect("/v1/events", batch, 429, "2", `"publisher";r=2;t=2`, both)
	address.state = limits.Decision{RetryAfter: time.Millisecond, ResetAfter: time.Hour}
	expect("/v1/rooms/a/events", single, 429, "1", `"address";r=0;t=1`, `"address";q=10;w=1`)
	if h.newest() != before {
		t.Error("something was stored")
	}
	for metric, want := range map[string]float64{"rate": 1 + 3, "rate-address": 1} {
		if got := h.limit(metric); got != want {
			t.Errorf("limit %s was reached %v times, want %v", metric, got, want)
		}
	}
}

// limit returns how often a limit was reached, by the metrics.
func (h *harness) limit(name string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "tidemark_limits_total" && m.GetLabel()[0].GetValue() == name {
				return m.GetCounter().GetValue()
			}
		}
	}
	h.t.Fatalf("no limit %s", name)
	return 0
}

// A batch larger than a burst is refused and takes no tokens.
func TestBatchBeyondTheBurst(t *testing.T) {
	g, wider := available(), available()
	g.rate.Burst = 2
	h := start(t, withRates(g, wider))
	a := h.request("POST", "/v1/events", `{"events":[{"room":"a","data":1},{"rooms":["a","b"],"data":2}]}`)
	if p := a.problem(t); a.status != 413 || p.Code != "batch-too-large" || !strings.Contains(p.Detail, "3 events") || !strings.Contains(p.Detail, "at most 2") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if asked := append(g.requests(), wider.requests()...); len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
}

// A repeated publish takes tokens again. A publish that the limiter refused is stored once
// when it is repeated.
func TestRateAndKeys(t *testing.T) {
	g := available()
	h := start(t, withRates(g, nil))
	for range 2 {
		h.request("POST", "/v1/rooms/a/events", `{"data":1}`, "Idempotency-Key", "k")
	}
	if asked := g.requests(); len(asked) != 2 {
		t.Errorf("asked for %q", asked)
	}
	g.state.RetryAfter = time.Second
	for _, key := range []string{"k", "l"} {
		if a := h.request("POST", "/v1/rooms/a/events", `{"data":1}`, "Idempotency-Key", key); a.status != 429 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	g.state.RetryAfter = 0
	if a := h.request("POST", "/v1/rooms/a/events", `{"data":1}`, "Idempotency-Key", "l"); a.status != 201 {
		t.Errorf("%d %s", a.status, a.body)
	}
	if n := len(h.history("a", "").Events); n != 2 {
		t.Errorf("%d events", n)
	}
}

// A publish that is refused for another reason takes no tokens.
func TestRateCountsValidPublishes(t *testing.T) {
	g := available()
	h := start(t, withAuth(t), withRates(g, nil))
	bearer := "Bearer " + token(t, time.Hour, all("den"))
	for _, tt := range []struct{ path, body, auth string }{
		{"/v1/rooms/den/events", `{"data":1}`, ""},
		{"/v1/rooms/hall/events", `{"data":1}`, bearer},
		{"/v1/rooms/den/events", `{}`, bearer},
		{"/v1/events", `{"events":[{"room":"hall","data":1}]}`, bearer},
		{"/v1/events", `{"events":[]}`, bearer},
	} {
		h.request("POST", tt.path, tt.body, "Authorization", tt.auth)
	}
	if asked := g.requests(); len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
}

// Without rate limits, answers have no headers about them.
func TestNoRates(t *testing.T) {
	h := start(t)
	a := h.request("POST", "/v1/rooms/a/events", `{"data":1}`)
	if a.header.Get("RateLimit") != "" || a.header.Get("RateLimit-Policy") != "" {
		t.Errorf("%v", a.header)
	}
}

// Each key, each user and each address has its own limit. The address is the one that trusted
// proxies name; an IPv6 address counts as its /64. A user's name cannot be that of a key.
func TestCallersAreCountedSeparately(t *testing.T) {
	publisher, address := available(), available()
	key, hash := access.NewKey()
	h := start(t, withAuth(t, access.Key{Hash: hash, Scopes: access.Scopes{Publish: []string{"*"}}}), withRates(publisher, address),
		func(s *setup) { s.api.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	name := "key " + hash.String()[:8]
	for _, tt := range []struct{ credential, from, publisher, address string }{
		{key, "192.0.2.7", name, "192.0.2.7/32"},
		{tokenBy(t, authSecret, name, time.Hour, all("*")), "192.0.2.8", "user " + name, "192.0.2.8/32"},
		{tokenBy(t, authSecret, "ann", time.Hour, all("*")), "2001:db8::1:2:3:4", "user ann", "2001:db8::/64"},
		{tokenBy(t, authSecret, "ann", time.Hour, all("*")), "2001:db8::5", "user ann", "2001:db8::/64"},
		{tokenBy(t, authSecret, "", time.Hour, all("*")), "::ffff:192.0.2.7", "", "192.0.2.7/32"},
	} {
		header := http.Header{"Authorization": {"Bearer " + tt.credential}, "X-Forwarded-For": {"10.1.1.1, " + tt.from}}
		h.ask(t, "POST", "/v1/rooms/a/events", `{"data":1}`, header)
		ws, status := h.handshake(t, "/v1/ws", header)
		if ws == nil {
			t.Fatal(status)
		}
		ws.send(`{"op":"publish","room":"a","data":1}`)
		ws.frame()
		byUser, byAddress := publisher.requests(), address.requests()
		for i := range 2 {
			if len(byUser) != 2 || len(byAddress) != 2 || byUser[i] != tt.publisher+" 1" || byAddress[i] != tt.address+" 1" {
				t.Errorf("from %s: %q, %q; want %q, %q", tt.from, byUser, byAddress, tt.publisher, tt.address)
				break
			}
		}
	}
}

// Of the publishes on a WebSocket, the first are stored as far as the limit allows. Each is
// answered, in order.
func TestWebSocketRate(t *testing.T) {
	rate, err := limits.ParseRate("1/h,3")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, withRates(limits.NewLocalLimiter(rate), nil))
	c := h.dial()
	for i := range 20 {
		c.send(fmt.Sprintf(`{"op":"publish","room":"a","data":%d,"ref":%d}`, i, i))
	}
	for i := range 20 {
		var got struct {
			Op, Code, Room, Detail string
			Ref                    int
			RetryAfter             int `json:"retry_after"`
		}
		if err := json.Unmarshal([]byte(c.frame()), &got); err != nil {
			t.Fatal(err)
		}
		stored := got.Op == "published"
		if got.Ref != i || got.Room != "a" || stored != (i < 3) || !stored && (got.Code != "rate-limited" || got.RetryAfter < 3000) {
			t.Errorf("%d: %+v", i, got)
		}
	}
	if n := len(h.history("a", "").Events); n != 3 {
		t.Errorf("%d events", n)
	}
	if got := h.limit("rate"); got != 17 {
		t.Errorf("the limit was reached %v times, want 17", got)
	}
}

// A partialLimiter grants a part of each request.
type partialLimiter struct {
	fakeLimiter
	part int
}

func (m *partialLimiter) Take(_ context.Context, _ string, n, _ int) limits.Decision {
	return limits.Decision{Granted: n / m.part, RetryAfter: m.state.RetryAfter}
}

// A caller that has reached both limits is told the longer wait: after the shorter one the
// other limit would refuse.
func TestWebSocketRateLongestWait(t *testing.T) {
	address, publisher := &partialLimiter{part: 2}, &partialLimiter{part: 1 << 20}
	address.state.RetryAfter, publisher.state.RetryAfter = time.Hour, time.Second
	h := start(t, withRates(publisher, address))
	c := h.dial()
	for i := range 20 {
		c.send(fmt.Sprintf(`{"op":"publish","room":"a","data":%d}`, i))
	}
	for range 20 {
		if f := c.frame(); !strings.Contains(f, `"retry_after":3600}`) {
			t.Errorf("answered %s", f)
		}
	}
}

// Every message of a client that sends too fast is answered, executed or refused, until the
// client does so for too long. Its earlier publishes are answered before the close.
func TestWebSocketMessages(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxMessages = 5 })
	h.log.appendDelay.Store(int64(200 * time.Millisecond))
	c := h.dial()
	c.send(`{"op":"publish","room":"a","data":1,"ref":0}`)
	for i := 1; i < 1000 && c.WriteMessage(1, fmt.Appendf(nil, `{"op":"ping","ref":%d}`, i)) == nil; i++ {
	}
	var answers []string
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			if !strings.Contains(err.Error(), "1008") || !strings.Contains(err.Error(), "rate-limited") {
				t.Errorf("ended with %v", err)
			}
			break
		}
		answers = append(answers, string(text))
	}
	pongs, refused := 0, 0
	for i, a := range answers {
		switch {
		case !strings.HasSuffix(a, fmt.Sprintf(`,"ref":%d}`, i)):
			t.Fatalf("answer %d is %s", i, a)
		case strings.HasPrefix(a, `{"op":"pong"`):
			pongs++
		case strings.HasPrefix(a, `{"op":"error","code":"rate-limited"`) && strings.Contains(a, `"retry_after":1,`):
			refused++
		case i > 0 || !strings.HasPrefix(a, `{"op":"published"`):
			t.Errorf("answer %d is %s", i, a)
		}
	}
	if pongs < 4 || refused < 25 || len(answers) == 1000 {
		t.Errorf("%d pongs, %d refused, of %d", pongs, refused, len(answers))
	}
	if got := h.limit("messages"); got < float64(refused) {
		t.Errorf("the limit was reached %v times, but %d messages were refused", got, refused)
	}
	if n := len(h.history("a", "").Events); n != 1 {
		t.Errorf("%d events", n)
	}
	h.awaitNoConnections()
}

// Pings count as messages.
func TestWebSocketPingFlood(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxMessages = 5 })
	c := h.dial()
	go func() {
		for c.WriteControl(9, nil, time.Now().Add(testTimeout)) == nil {
		}
	}()
	if code := c.closeCode(); code != 1008 {
		t.Errorf("closed with %d", code)
	}
	h.awaitNoConnections()
}
