package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
)

func withReadRates(reader, address limits.RateLimiter) func(*setup) {
	return func(s *setup) { s.api.ReadRate, s.api.ReadAddressRate = reader, address }
}

// A history request and each room that a client begins to follow take a token, over every
// transport. Nothing else does.
func TestReadsTakeTokens(t *testing.T) {
	reader, address := available(), available()
	h := start(t, withAuth(t), withReadRates(reader, address))
	bearer := "Bearer " + token(t, time.Hour, all("*"))
	expect := func(what string, n int) {
		t.Helper()
		want, wantAddress := []string{fmt.Sprint("user ann ", n)}, []string{fmt.Sprint("127.0.0.1/32 ", n)}
		if n == 0 {
			want, wantAddress = nil, nil
		}
		if byUser, byAddress := reader.requests(), address.requests(); !slices.Equal(byUser, want) || !slices.Equal(byAddress, wantAddress) {
			t.Errorf("%s: asked for %q and %q, want %q and %q", what, byUser, byAddress, want, wantAddress)
		}
	}
	a := h.request("GET", "/v1/rooms/a/events", "", "Authorization", bearer)
	if got := strings.Join(a.header.Values("RateLimit"), ", "); got != `"reader-address";r=7;t=930, "reader";r=7;t=930` {
		t.Errorf("history: RateLimit %q", got)
	}
	expect("history", 1)
	for path, n := range map[string]int{
		"/v1/rooms/a/events":                1,
		"/v1/events":                        1,
		"/v1/events?room=a&room=b&room=c":   3,
		"/v1/events?room=a&since=earliest":  1,
		"/v1/events?room=a&room=b&last=10":  2,
		"/v1/rooms/a/events?last_event_id=": 1,
	} {
		h.follow(path, "Authorization", bearer).opened()
		expect(path, n)
	}
	h.request("GET", "/v1/rooms/a/events?limit=0", "", "Authorization", bearer)
	expect("an invalid request", 0)
	h.request("POST", "/v1/rooms/a/events", `{"data":1}`, "Authorization", bearer)
	expect("a publish", 0)

	ws, status := h.handshake(t, "/v1/ws", http.Header{"Authorization": {bearer}})
	if ws == nil {
		t.Fatal(status)
	}
	expect("a WebSocket", 0)
	for _, room := range []string{"a", "b"} {
		ws.send(`{"op":"subscribe","room":"` + room + `"}`)
		if f := ws.frame(); !strings.HasPrefix(f, `{"op":"subscribed"`) {
			t.Fatal(f)
		}
		expect("subscribe", 1)
		ws.frame()
	}
	ws.send(`{"op":"subscribe","room":"a"}`)
	ws.frame()
	expect("subscribe again", 0)
}

// A read beyond a rate is refused in the way of its transport, and reads nothing.
func TestReadsBeyondTheRate(t *testing.T) {
	for name, tt := range map[string]struct {
		reader, address *fakeLimiter
		policy, limit   string
	}{
		"reader":  {exhausted(), available(), "reader", "read-rate"},
		"address": {available(), exhausted(), "reader-address", "read-rate-address"},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, withReadRates(tt.reader, tt.address))
			a := h.request("GET", "/v1/rooms/a/events", "")
			p := a.problem(t)
			if a.status != 429 || p.Code != "rate-limited" || a.header.Get("Retry-After") != "60" || !strings.Contains(p.Detail, "per "+tt.policy+";") {
				t.Errorf("history: %d %s %v", a.status, a.body, a.header)
			}
			if got := a.header.Values("RateLimit"); len(got) != 1 || got[0] != fmt.Sprintf("%q;r=0;t=60", tt.policy) {
				t.Errorf("history: RateLimit %q", got)
			}
			got := h.raw("GET /v1/rooms/a/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
			if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || !regexp.MustCompile(`\nretry: [6-8][0-9]{4}\nevent: tidemark.error\ndata: {"code":"rate-limited",`).MatchString(got) {
				t.Errorf("stream: %q", got)
			}
			c := h.dial()
			c.send(`{"op":"subscribe","room":"a","ref":7}`)
			if f := c.frame(); !strings.HasPrefix(f, `{"op":"error","code":"rate-limited"`) || !strings.HasSuffix(f, `"retry_after":60,"ref":7}`) {
				t.Errorf("subscribe: %s", f)
			}
			c.send(`{"op":"publish","room":"a","data":1}`)
			if f := c.frame(); !strings.HasPrefix(f, `{"op":"published"`) {
				t.Errorf("publish: %s", f)
			}
			if got := h.limit(tt.limit); got != 3 {
				t.Errorf("the limit was reached %v times, want 3", got)
			}
		})
	}
}

// A follow of more rooms than a bucket holds takes the whole bucket.
func TestFollowBeyondTheBurst(t *testing.T) {
	rate, err := limits.ParseRate("1/h,2")
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, withReadRates(limits.NewLocalLimiter(rate), nil))
	h.follow("/v1/events?room=a&room=b&room=c").opened()
	if a := h.request("GET", "/v1/rooms/a/events", ""); a.status != 429 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A history request in progress holds a slot of its own limiter. Without one, others are
// refused with the codes of connections, while streams are not affected.
func TestHistorySlots(t *testing.T) {
	for code, o := range map[string]limits.ConnectionOptions{
		"node-full":            {PerNode: 1},
		"too-many-connections": {PerAddress: 1},
	} {
		t.Run(code, func(t *testing.T) {
			limiter := limits.NewConnectionLimiter(o)
			h := start(t, func(s *setup) { s.api.HistoryLimiter = limiter })
			h.publish("a", "1")
			hold := make(chan struct{})
			h.log.hold.Store(&hold)
			first := make(chan answer)
			go func() {
				a, _ := h.try("GET", "/v1/rooms/a/events", "")
				first <- a
			}()
			awaitSlots(t, limiter, 1)
			a := h.request("GET", "/v1/rooms/b/events", "")
			if p := a.problem(t); p.Code != code || a.header.Get("Retry-After") == "" {
				t.Errorf("%d %s", a.status, a.body)
			}
			h.follow("/v1/rooms/b/events").opened()
			close(hold)
			if a := <-first; a.status != http.StatusOK {
				t.Errorf("%d %s", a.status, a.body)
			}
			awaitSlots(t, limiter, 0)
		})
	}
}

// A slot of history is held until the client has the answer.
func TestHistorySlotLastsUntilTheAnswerIsWritten(t *testing.T) {
	limiter := limits.NewConnectionLimiter(limits.ConnectionOptions{PerNode: 1})
	h := start(t, func(s *setup) { s.api.HistoryLimiter, s.http.narrow = limiter, true })
	h.fill("a", 20, 64000)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(conn, "GET /v1/rooms/a/events?limit=1000 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(conn).Peek(1); err != nil { // the answer has begun
		t.Fatal(err)
	}
	if a := h.request("GET", "/v1/rooms/b/events", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", a.status, a.body)
	}
	conn.Close()
	awaitSlots(t, limiter, 0)
}

// A history request that its client gives up stops reading the log, and does not count as a
// failure.
func TestHistoryGivenUp(t *testing.T) {
	var logged lockedBuffer
	h := start(t, func(s *setup) { s.api.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	h.publish("a", "1")
	stopped := make(chan error, 1)
	h.log.onRead.Store(new(func(ctx context.Context) {
		<-ctx.Done()
		stopped <- ctx.Err()
	}))
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /v1/rooms/a/events HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	for h.log.reads.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	conn.Close()
	if err := <-stopped; err != context.Canceled {
		t.Errorf("the read of the log ended with %v, want %v", err, context.Canceled)
	}
	if err := h.api.Shutdown(context.Background()); err != nil { // waits for the request
		t.Fatal(err)
	}
	if a := h.request("GET", "/metrics", ""); !strings.Contains(a.body, `method="GET",route="/v1/rooms/:room/events",status="499"} 1`) {
		t.Error("the request is not counted with status 499")
	}
	if got := logged.String(); strings.Contains(got, "level=ERROR") || strings.Contains(got, "level=WARN") {
		t.Errorf("logged %s", got)
	}
	if n := h.value("tidemark_problems_total", "internal") + h.value("tidemark_problems_total", "log-unavailable"); n != 0 {
		t.Errorf("%v problems", n)
	}
}

// A batch is refused before its body is read if its caller may publish in no room, or if no
// token is left. The refusal takes no token.
func TestBatchIsRefusedBeforeItsBody(t *testing.T) {
	publisher, address := available(), available()
	h := start(t, withAuth(t), withRates(publisher, address))
	refused := func(bearer string) string {
		t.Helper()
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(testTimeout))
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\nAuthorization: Bearer %s\r\n\r\n{", bearer)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return fmt.Sprintln(res.StatusCode, res.Header.Get("Retry-After"), res.Header.Values("RateLimit"), string(body))
	}
	if got := refused(token(t, time.Hour, access.Scopes{Subscribe: []string{"*"}})); !strings.HasPrefix(got, "403 ") || !strings.Contains(got, `"code":"forbidden"`) {
		t.Error(got)
	}
	if asked := append(publisher.requests(), address.requests()...); len(asked) > 0 {
		t.Errorf("asked for %q", asked)
	}
	publisher.state = exhausted().state
	if got := refused(token(t, time.Hour, all("a"))); !strings.HasPrefix(got, `429 60 ["publisher";r=0;t=60] `) || !strings.Contains(got, `"code":"rate-limited"`) {
		t.Error(got)
	}
	if asked := append(publisher.requests(), address.requests()...); len(asked) != 1 || asked[0] != "peek user ann" {
		t.Errorf("asked for %q", asked)
	}
}

// Rooms that a batch names count, also those that cannot exist: their results take memory.
func TestBatchCountsInvalidRooms(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxBatch = 4 })
	for body, want := range map[string]int{
		`{"events":[{"rooms":["*a","*b"],"data":1},{"rooms":["*a","*b"],"data":1}]}`:                                  200,
		`{"events":[{"rooms":["*a","*b"],"data":1},{"rooms":["*a","*b"],"data":1},{"rooms":["*"],"data":1}]}`:         413,
		`{"events":[{"rooms":["*a","*b","*c","*d","*e"],"data":1}]}`:                                                  413,
		`{"events":[{"room":"a","data":1},{"room":"a","data":1},{"room":"a","data":1},{"rooms":["*","b"],"data":1}]}`: 413,
		`{"events":[1,2,3,4]}`:   200,
		`{"events":[1,2,3,4,5]}`: 413,
	} {
		if a := h.request("POST", "/v1/events", body); a.status != want {
			t.Errorf("%s: %d %s", body, a.status, a.body)
		}
	}
}
