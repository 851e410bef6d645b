package api_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/tests/redistest"
)

// withSlots limits the connections of a node, and returns the limiter.
func withSlots(o limits.ConnectionOptions) (*limits.ConnectionLimiter, func(*setup)) {
	limiter := limits.NewConnectionLimiter(o)
	return limiter, func(s *setup) { s.api.ConnectionLimiter = limiter }
}

// awaitSlots waits until n slots are held.
func awaitSlots(t *testing.T, limiter *limits.ConnectionLimiter, n int) {
	t.Helper()
	deadline := time.Now().Add(testTimeout)
	for limiter.Held() != n {
		if time.Now().After(deadline) {
			t.Fatalf("%d slots are held, want %d", limiter.Held(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// A stream without a free slot gets an error block, byte for byte, and is reset.
func TestFullStream(t *testing.T) {
	for name, tt := range map[string]struct {
		o           limits.ConnectionOptions
		code, words string
		wait        string
		limit       string
	}{
		"node":    {limits.ConnectionOptions{PerNode: 1}, "node-full", "this node has as many connections as it takes: 1", "[567]", "node"},
		"address": {limits.ConnectionOptions{PerAddress: 1}, "too-many-connections", "this address has as many connections as one may have: 1", "1[0-5]", "address"},
		"user":    {limits.ConnectionOptions{PerUser: 1}, "too-many-connections", "this user has as many connections as one may have: 1", "1[0-5]", "user"},
	} {
		t.Run(name, func(t *testing.T) {
			limiter, with := withSlots(tt.o)
			h := start(t, with, withAuth(t))
			bearer := "Bearer " + token(t, time.Hour, access.Scopes{Subscribe: []string{"lobby"}})
			h.follow("/v1/rooms/lobby/events", "Authorization", bearer).opened()
			got := h.raw("GET /v1/rooms/lobby/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: " + bearer + "\r\n\r\n")
			block := "retry: " + tt.wait + "[0-9]{3}\nevent: tidemark.error\n" + regexp.QuoteMeta(`data: {"code":"`+tt.code+`","detail":"`+tt.words+`"}`) + "\n\n"
			want := "HTTP/1\\.1 200 OK\r\nCache-Control: no-store, no-transform\r\nContent-Type: text/event-stream\r\nVary: Accept\r\n" +
				"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nDate: [^\r]+\r\nTransfer-Encoding: chunked\r\n\r\n[0-9a-f]+\r\n" + block + "\r\n"
			if !regexp.MustCompile("^" + want + "$").MatchString(got) {
				t.Errorf("the answer is\n%q\nwant\n%q", got, want)
			}
			if n := limiter.Held(); n != 1 {
				t.Errorf("%d slots are held, want 1", n)
			}
			if n := h.value("tidemark_limits_total", tt.limit); n != 1 {
				t.Errorf("the limit was reached %v times, want once", n)
			}
		})
	}
}

// value returns the value of a counter or gauge for one value of its only label.
func (h *harness) value(name, label string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() // the other is 0
			}
		}
	}
	return 0
}

// raw sends text and returns everything until the server ends the connection.
func (h *harness) raw(text string) string {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(conn, text); err != nil {
		h.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(answer)
}

// handshake is a WebSocket handshake with the key of RFC 6455, section 1.3.
const handshake = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A WebSocket without a free slot is opened and closed with the reason, in one piece.
func TestFullWebSocket(t *testing.T) {
	for code, o := range map[string]limits.ConnectionOptions{"node-full": {PerNode: 1}, "too-many-connections": {PerAddress: 1}} {
		t.Run(code, func(t *testing.T) {
			limiter, with := withSlots(o)
			h := start(t, with)
			h.dial().send(`{"op":"ping"}`)
			got := h.raw(handshake)
			want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x88" + string(rune(2+len(code))) + "\x03\xf5" + code
			if got != want {
				t.Errorf("the answer is\n%q\nwant\n%q", got, want)
			}
			_, _, err := h.dial("tidemark.v1").ReadMessage()
			if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != websocket.CloseTryAgainLater || e.Text != code {
				t.Errorf("the WebSocket ends with %v, want 1013 and %s", err, code)
			}
			if n := limiter.Held(); n != 1 {
				t.Errorf("%d slots are held, want 1", n)
			}
		})
	}
}

// A connection holds its slot until it ends, over each transport and for each reason. Then
// another connection can have the slot.
func TestSlotIsReleased(t *testing.T) {
	limiter, with := withSlots(limits.ConnectionOptions{PerNode: 1})
	h := start(t, with, func(s *setup) { s.node.Hot = 2 }) // so that most is read from the log
	for range 3 {
		s := h.follow("/v1/rooms/lobby/events")
		s.opened()
		awaitSlots(t, limiter, 1)
		s.body.Close()
		awaitSlots(t, limiter, 0)
		c := h.dial()
		c.send(`{"op":"ping"}`)
		c.expect(`{"op":"pong"}`)
		awaitSlots(t, limiter, 1)
		c.Close()
		awaitSlots(t, limiter, 0)
	}
	ids := h.publishMany("lobby", 50)
	h.log.panics.Store(true) // reading the log panics
	h.follow("/v1/rooms/lobby/events", "Last-Event-ID", ids[0]).opened()
	awaitSlots(t, limiter, 0)
	h.log.panics.Store(false)
	h.log.watermarksDown.Store(true) // no start position can be found
	h.follow("/v1/rooms/hall/events?since=earliest")
	awaitSlots(t, limiter, 0)
	h.log.watermarksDown.Store(false)
	if a := h.request("GET", "/v1/ws", "", "Connection", "Upgrade", "Upgrade", "websocket"); a.problem(t).Code != "handshake-invalid" {
		t.Errorf("an incomplete handshake: %d %s", a.status, a.body)
	}
	awaitSlots(t, limiter, 0)
	h.follow("/v1/rooms/lobby/events").opened()
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	awaitSlots(t, limiter, 0)
}

// A failingHijacker is a response whose connection cannot be taken over.
type failingHijacker struct {
	*httptest.ResponseRecorder
	hijack func() error
}

func (w failingHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, w.hijack() }

// If the connection cannot be taken over, or that panics, the slot is released.
func TestSlotWithoutConnection(t *testing.T) {
	limiter, with := withSlots(limits.ConnectionOptions{PerNode: 1})
	h := start(t, with)
	for name, hijack := range map[string]func() error{
		"error": func() error { return errors.New("on purpose") },
		"panic": func() error { panic("on purpose") },
	} {
		for _, path := range []string{"/v1/rooms/lobby/events", "/v1/ws"} {
			t.Run(name+path, func(t *testing.T) {
				r := httptest.NewRequest("GET", path, nil)
				for name, value := range map[string]string{
					"Accept": "text/event-stream", "Connection": "Upgrade", "Upgrade": "websocket",
					"Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
				} {
					r.Header.Set(name, value)
				}
				h.api.ServeHTTP(failingHijacker{httptest.NewRecorder(), hijack}, r)
				awaitSlots(t, limiter, 0)
			})
		}
	}
}

// The limit of a user counts both transports and all of the user's tokens. Other users and
// API keys do not count. A new token keeps the slot.
func TestSlotsOfAUser(t *testing.T) {
	secret, hash := access.NewKey()
	key, err := access.ParseKey(hash.String() + "=subscribe:*")
	if err != nil {
		t.Fatal(err)
	}
	limiter, with := withSlots(limits.ConnectionOptions{PerUser: 2})
	h := start(t, with, withAuth(t, key))
	scopes := access.Scopes{Subscribe: []string{"*"}}
	ann := func() string { return "Bearer " + token(t, time.Hour, scopes) }
	h.follow("/v1/rooms/lobby/events", "Authorization", ann()).opened()
	c := h.dialWith(ann())
	c.send(`{"op":"auth","token":"` + token(t, 2*time.Hour, scopes) + `"}`)
	c.expect(`{"op":"authorized"}`)
	awaitSlots(t, limiter, 2)
	if got := field(h.follow("/v1/rooms/lobby/events", "Authorization", ann()).block(), "data"); !strings.Contains(got, `"too-many-connections"`) {
		t.Errorf("a third stream got %s", got)
	}
	for _, other := range []string{tokenBy(t, authSecret, "bob", time.Hour, scopes), secret, secret, secret} {
		h.follow("/v1/rooms/lobby/events", "Authorization", "Bearer "+other).opened()
	}
	awaitSlots(t, limiter, 6)
	c.Close()
	awaitSlots(t, limiter, 5)
	h.follow("/v1/rooms/lobby/events", "Authorization", ann()).opened()
}

// dialWith opens a WebSocket with a credential.
func (h *harness) dialWith(authorization string) *wsClient {
	h.t.Helper()
	c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", http.Header{"Authorization": {authorization}})
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	h.t.Cleanup(func() { c.Close() })
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	return &wsClient{c, h.t}
}

// Behind a trusted proxy the limit applies to the client that the proxy names. Behind any
// other proxy it applies to the proxy.
func TestSlotsBehindAProxy(t *testing.T) {
	for trusted, others := range map[bool]string{true: "tidemark.open", false: "tidemark.error"} {
		t.Run(fmt.Sprint(trusted), func(t *testing.T) {
			_, with := withSlots(limits.ConnectionOptions{PerAddress: 1})
			h := start(t, with, func(s *setup) {
				if trusted {
					s.api.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
				}
			})
			for _, request := range []struct{ from, event string }{
				{"2001:db8::1", "tidemark.open"},
				{"2001:db8::2", "tidemark.error"}, // in the same /64
				{"2001:db8:0:1::1", others},
				{"192.0.2.1", others},
				{"192.0.2.1", "tidemark.error"},
			} {
				if got := field(h.follow("/v1/rooms/lobby/events", "X-Forwarded-For", request.from).block(), "event"); got != request.event {
					t.Errorf("%s got %s, want %s", request.from, got, request.event)
				}
			}
		})
	}
}

// Thousands of clients connect, are refused and disconnect in different ways. No slot, lease
// or connection stays.
func TestSlotsInAStorm(t *testing.T) {
	const clients, connections = 16, 200
	server := redistest.StartProcess(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	limiter, with := withSlots(limits.ConnectionOptions{PerNode: 6, PerAddress: clients, PerUser: 2, Redis: rdb, Prefix: "test"})
	defer limiter.Close()
	h := start(t, with, withAuth(t))
	addr := strings.TrimPrefix(h.url, "http://")
	users := []string{"ann", "bob", "cid", "dot"}
	var storm sync.WaitGroup
	for i := range clients {
		bearer := "Authorization: Bearer " + tokenBy(t, authSecret, users[i%len(users)], time.Hour, access.Scopes{Subscribe: []string{"lobby"}}) + "\r\n\r\n"
		stream := "GET /v1/rooms/lobby/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n" + bearer
		upgrade := strings.TrimSuffix(handshake, "\r\n") + bearer
		storm.Go(func() {
			for j := range connections {
				if err := connectBriefly(addr, []string{stream, upgrade}[j%2], i+j); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	storm.Wait()
	awaitSlots(t, limiter, 0)
	for _, transport := range []string{"sse", "websocket"} {
		if n := h.value("tidemark_connections", transport); n != 0 {
			t.Errorf("%v connections over %s", n, transport)
		}
	}
	for _, limit := range []string{"node", "user"} {
		if h.value("tidemark_limits_total", limit) == 0 {
			t.Errorf("the limit %q refused no client", limit)
		}
	}
	deadline := time.Now().Add(testTimeout)
	for rdb.DBSize(t.Context()).Val() != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("Redis still has %v", rdb.Keys(t.Context(), "*"))
		}
		time.Sleep(time.Millisecond)
	}
}

// connectBriefly sends a request or a part of it, and disconnects before or after the first
// byte of the answer, orderly or with a reset.
func connectBriefly(addr, request string, how int) error {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if how%3 == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	if how%5 == 0 {
		request = request[:len(request)-how%len(request)]
	}
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	if how%5 != 0 && how%2 == 0 {
		_ = conn.SetReadDeadline(time.Now().Add(testTimeout))
		_, err = conn.Read(make([]byte, 1))
	}
	return err
}
