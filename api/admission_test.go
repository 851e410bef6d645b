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

// seated gives a node seats, which it returns.
func seated(o limits.ConnectionOptions) (*limits.ConnectionLimiter, func(*setup)) {
	seats := limits.NewConnectionLimiter(o)
	return seats, func(s *setup) { s.api.ConnectionLimiter = seats }
}

// awaitSeats waits until n seats are held.
func awaitSeats(t *testing.T, seats *limits.ConnectionLimiter, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for seats.Held() != n {
		if time.Now().After(deadline) {
			t.Fatalf("%d seats are held, want %d", seats.Held(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// A stream for which there is no seat is told so, byte for byte, and broken off.
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
			seats, with := seated(tt.o)
			h := start(t, with, guarded(t))
			bearer := "Bearer " + token(t, time.Hour, access.Scopes{Subscribe: []string{"lobby"}})
			h.follow("/v1/rooms/lobby/events", "Authorization", bearer).opened()
			got := h.raw("GET /v1/rooms/lobby/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: " + bearer + "\r\n\r\n")
			block := "retry: " + tt.wait + "[0-9]{3}\nevent: tidemark.error\n" + regexp.QuoteMeta(`data: {"code":"`+tt.code+`","detail":"`+tt.words+`"}`) + "\n\n"
			want := "HTTP/1\\.1 200 OK\r\nCache-Control: no-store, no-transform\r\nContent-Type: text/event-stream\r\nVary: Accept\r\n" +
				"X-Accel-Buffering: no\r\nX-Content-Type-Options: nosniff\r\nDate: [^\r]+\r\nTransfer-Encoding: chunked\r\n\r\n[0-9a-f]+\r\n" + block + "\r\n"
			if !regexp.MustCompile("^" + want + "$").MatchString(got) {
				t.Errorf("the answer is\n%q\nwant\n%q", got, want)
			}
			if n := seats.Held(); n != 1 {
				t.Errorf("%d seats are held, want 1", n)
			}
			if n := h.value("tidemark_limits_total", tt.limit); n != 1 {
				t.Errorf("the limit was hit %v times, want once", n)
			}
		})
	}
}

// value returns that of a counter or gauge for a value of its only label.
func (h *harness) value(name, label string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() // one of the two
			}
		}
	}
	return 0
}

// raw sends text and returns all that comes until the server ends the connection.
func (h *harness) raw(text string) string {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		h.t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(answer)
}

// handshake is one of a WebSocket, the key from RFC 6455, 1.3.
const handshake = "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// A socket for which there is no seat is opened, and closed with the reason, in one
// piece.
func TestFullSocket(t *testing.T) {
	for code, o := range map[string]limits.ConnectionOptions{"node-full": {PerNode: 1}, "too-many-connections": {PerAddress: 1}} {
		t.Run(code, func(t *testing.T) {
			seats, with := seated(o)
			h := start(t, with)
			h.dial().say(`{"op":"ping"}`)
			got := h.raw(handshake)
			want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
				"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x88" + string(rune(2+len(code))) + "\x03\xf5" + code
			if got != want {
				t.Errorf("the answer is\n%q\nwant\n%q", got, want)
			}
			_, _, err := h.dial("tidemark.v1").ReadMessage()
			if e, ok := errors.AsType[*websocket.CloseError](err); !ok || e.Code != websocket.CloseTryAgainLater || e.Text != code {
				t.Errorf("the socket ends with %v, want 1013 and %s", err, code)
			}
			if n := seats.Held(); n != 1 {
				t.Errorf("%d seats are held, want 1", n)
			}
		})
	}
}

// A connection has its seat for as long as it is there, on either transport, and
// whatever ends it; then the seat is another's.
func TestSeatIsGivenBack(t *testing.T) {
	seats, with := seated(limits.ConnectionOptions{PerNode: 1})
	h := start(t, with, func(s *setup) { s.node.Hot = 2 }) // so that most is read from the log
	for range 3 {
		s := h.follow("/v1/rooms/lobby/events")
		s.opened()
		awaitSeats(t, seats, 1)
		s.body.Close()
		awaitSeats(t, seats, 0)
		c := h.dial()
		c.say(`{"op":"ping"}`)
		c.expect(`{"op":"pong"}`)
		awaitSeats(t, seats, 1)
		c.Close()
		awaitSeats(t, seats, 0)
	}
	ids := h.publishMany("lobby", 50)
	h.log.panics.Store(true) // reading the log panics
	h.follow("/v1/rooms/lobby/events", "Last-Event-ID", ids[0]).opened()
	awaitSeats(t, seats, 0)
	h.log.panics.Store(false)
	h.log.edgesDown.Store(true) // there is nowhere to start from
	h.follow("/v1/rooms/hall/events?since=earliest")
	awaitSeats(t, seats, 0)
	h.log.edgesDown.Store(false)
	if a := h.request("GET", "/v1/ws", "", "Connection", "Upgrade", "Upgrade", "websocket"); a.problem(t).Code != "handshake-invalid" {
		t.Errorf("half a handshake: %d %s", a.status, a.body)
	}
	awaitSeats(t, seats, 0)
	h.follow("/v1/rooms/lobby/events").opened()
	if err := h.api.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	awaitSeats(t, seats, 0)
}

// A fallenWriter has a connection that can't be taken over.
type fallenWriter struct {
	*httptest.ResponseRecorder
	hijack func() error
}

func (w fallenWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, w.hijack() }

// Where the connection can't be had, or what has it panics, the seat is given back.
func TestSeatWithoutConnection(t *testing.T) {
	seats, with := seated(limits.ConnectionOptions{PerNode: 1})
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
				h.api.ServeHTTP(fallenWriter{httptest.NewRecorder(), hijack}, r)
				awaitSeats(t, seats, 0)
			})
		}
	}
}

// A user has one limit over both transports and whatever tokens; others, and keys, which
// are nobody's, are not concerned. A new token keeps the seat.
func TestSeatsOfAUser(t *testing.T) {
	secret, hash := access.NewKey()
	key, err := access.ParseKey(hash.String() + "=subscribe:*")
	if err != nil {
		t.Fatal(err)
	}
	seats, with := seated(limits.ConnectionOptions{PerUser: 2})
	h := start(t, with, guarded(t, key))
	scopes := access.Scopes{Subscribe: []string{"*"}}
	ann := func() string { return "Bearer " + token(t, time.Hour, scopes) }
	h.follow("/v1/rooms/lobby/events", "Authorization", ann()).opened()
	c := h.dialWith(ann())
	c.say(`{"op":"auth","token":"` + token(t, 2*time.Hour, scopes) + `"}`)
	c.expect(`{"op":"authorized"}`)
	awaitSeats(t, seats, 2)
	if got := field(h.follow("/v1/rooms/lobby/events", "Authorization", ann()).block(), "data"); !strings.Contains(got, `"too-many-connections"`) {
		t.Errorf("a third stream is told %s", got)
	}
	for _, other := range []string{tokenBy(t, authSecret, "bob", time.Hour, scopes), secret, secret, secret} {
		h.follow("/v1/rooms/lobby/events", "Authorization", "Bearer "+other).opened()
	}
	awaitSeats(t, seats, 6)
	c.Close()
	awaitSeats(t, seats, 5)
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
	_ = c.SetReadDeadline(time.Now().Add(patience))
	return &wsClient{c, h.t}
}

// Behind a proxy that is trusted, the limit is of the client that the proxy names, and of
// the proxy where it is not trusted.
func TestSeatsBehindAProxy(t *testing.T) {
	for trusted, others := range map[bool]string{true: "tidemark.open", false: "tidemark.error"} {
		t.Run(fmt.Sprint(trusted), func(t *testing.T) {
			_, with := seated(limits.ConnectionOptions{PerAddress: 1})
			h := start(t, with, func(s *setup) {
				if trusted {
					s.api.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
				}
			})
			for _, visit := range []struct{ from, event string }{
				{"2001:db8::1", "tidemark.open"},
				{"2001:db8::2", "tidemark.error"}, // of the same home
				{"2001:db8:0:1::1", others},
				{"192.0.2.1", others},
				{"192.0.2.1", "tidemark.error"},
			} {
				if got := field(h.follow("/v1/rooms/lobby/events", "X-Forwarded-For", visit.from).block(), "event"); got != visit.event {
					t.Errorf("%s hears %s, want %s", visit.from, got, visit.event)
				}
			}
		})
	}
}

// Thousands come and go, in whatever way, and are turned away: nothing is left of them.
func TestSeatsInAStorm(t *testing.T) {
	const clients, visits = 16, 200
	server := redistest.StartProcess(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), MaxRetries: -1, ContextTimeoutEnabled: true})
	defer rdb.Close()
	seats, with := seated(limits.ConnectionOptions{PerNode: 6, PerAddress: clients, PerUser: 2, Redis: rdb, Prefix: "test"})
	defer seats.Close()
	h := start(t, with, guarded(t))
	addr := strings.TrimPrefix(h.url, "http://")
	users := []string{"ann", "bob", "cid", "dot"}
	var storm sync.WaitGroup
	for i := range clients {
		bearer := "Authorization: Bearer " + tokenBy(t, authSecret, users[i%len(users)], time.Hour, access.Scopes{Subscribe: []string{"lobby"}}) + "\r\n\r\n"
		stream := "GET /v1/rooms/lobby/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n" + bearer
		upgrade := strings.TrimSuffix(handshake, "\r\n") + bearer
		storm.Go(func() {
			for j := range visits {
				if err := visit(addr, []string{stream, upgrade}[j%2], i+j); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	storm.Wait()
	awaitSeats(t, seats, 0)
	for _, transport := range []string{"sse", "websocket"} {
		if n := h.value("tidemark_connections", transport); n != 0 {
			t.Errorf("%v connections over %s", n, transport)
		}
	}
	for _, limit := range []string{"node", "user"} {
		if h.value("tidemark_limits_total", limit) == 0 {
			t.Errorf("nobody was turned away by the limit %q", limit)
		}
	}
	deadline := time.Now().Add(patience)
	for rdb.DBSize(t.Context()).Val() != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("Redis still has %v", rdb.Keys(t.Context(), "*"))
		}
		time.Sleep(time.Millisecond)
	}
}

// visit sends a request, or a part of it, and goes before or after something has come:
// in order, or with a reset.
func visit(addr, request string, how int) error {
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
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		_, err = conn.Read(make([]byte, 1))
	}
	return err
}
