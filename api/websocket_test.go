package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A session with the frames of docs/protocol.md, byte for byte.
func TestWebSocket(t *testing.T) {
	h := start(t)
	ids := h.publishMany("lobby", 2)
	c := h.dial("tidemark.v1")
	if got := c.Subprotocol(); got != "tidemark.v1" {
		t.Errorf("subprotocol %q", got)
	}
	c.send(`{"op":"subscribe","room":"lobby","since":"` + ids[0] + `","ref":1}`)
	c.expect(`{"op":"subscribed","room":"lobby","cursor":"` + ids[0] + `","ref":1}`)
	c.expect(`{"op":"event","room":"lobby","id":"` + ids[1] + `","type":"message","data":2}`)
	c.expect(`{"op":"live","room":"lobby","replayed":1,"cursor":"` + ids[1] + `"}`)

	a := h.request("POST", "/v1/rooms/lobby/events", `{"type":"note","data":{"a":[1]}}`)
	c.expect(`{"op":"event","room":"lobby","id":"` + a.id(t) + `","type":"note","data":{"a":[1]}}`)

	c.send(`{"op":"unsubscribe","room":"lobby","ref":"r"}`)
	c.expect(`{"op":"unsubscribed","room":"lobby","ref":"r"}`)
	h.publish("lobby", "3")
	c.send(`{"op":"ping"}`)
	c.expect(`{"op":"pong"}`)
	c.send(`{"op":"ping","ref":-1.5e3}`)
	c.expect(`{"op":"pong","ref":-1.5e3}`)
}

// The server chooses tidemark.v1 among the offered subprotocols, and accepts an offer of none.
func TestSubprotocols(t *testing.T) {
	h := start(t)
	for want, offer := range map[string][]string{
		"":            nil,
		"tidemark.v1": {"chat", "tidemark.v1"},
	} {
		if got := h.dial(offer...).Subprotocol(); got != want {
			t.Errorf("offered %v: %q, want %q", offer, got, want)
		}
	}
}

// A malformed handshake gets a problem document.
func TestHandshakeRefused(t *testing.T) {
	h := start(t)
	upgrade := []string{
		"Connection", "Upgrade", "Upgrade", "websocket",
		"Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	for _, tt := range []struct {
		name   string
		header []string
		status int
		code   string
	}{
		{"no upgrade", nil, 426, "upgrade-required"},
		{"another subprotocol", append(slices.Clone(upgrade), "Sec-WebSocket-Protocol", "chat, mqtt"), 400, "subprotocol-unsupported"},
		{"another version", append(slices.Clone(upgrade[:4]), "Sec-WebSocket-Version", "8"), 400, "handshake-invalid"},
		{"no key", upgrade[:6], 400, "handshake-invalid"},
		{"another origin", append(slices.Clone(upgrade), "Origin", "https://evil.example"), 403, "origin-forbidden"},
	} {
		a := h.request("GET", "/v1/ws", "", tt.header...)
		if p := a.problem(t); a.status != tt.status || p.Code != tt.code {
			t.Errorf("%s: %d %s (%s), want %d %s", tt.name, a.status, p.Code, p.Detail, tt.status, tt.code)
		}
	}
}

// A message that cannot be executed gets one error, changes nothing, and leaves the session
// open.
func TestWebSocketErrors(t *testing.T) {
	h := start(t, func(s *setup) { s.api.MaxRooms = 1 })
	before := h.newest()
	c := h.dial()
	c.send(`{"op":"subscribe","room":"lobby"}`)
	c.frame()
	c.frame()
	for _, tt := range []struct{ message, code, room string }{
		{`hello`, "message-invalid", ""},
		{``, "message-invalid", ""},
		{`[]`, "message-invalid", ""},
		{`{"op":"ping"} {}`, "message-invalid", ""},
		{"{\"op\":\"\xff\"}", "message-invalid", ""},
		{`{"ref":1}`, "message-invalid", ""},
		{`{"op":1,"ref":1}`, "message-invalid", ""},
		{`{"op":"dance","ref":1}`, "message-invalid", ""},
		{`{"op":"ping","extra":1,"ref":1}`, "message-invalid", ""},
		{`{"op":"ping","op":"ping","ref":1}`, "message-invalid", ""},
		{`{"op":"ping","ref":{}}`, "message-invalid", ""},
		{`{"op":"ping","ref":null}`, "message-invalid", ""},
		{`{"op":"ping","ref":"` + strings.Repeat("r", 200) + `"}`, "message-invalid", ""},
		{`{"op":"subscribe","ref":1}`, "message-invalid", ""},
		{`{"op":"subscribe","room":1,"ref":1}`, "message-invalid", ""},
		{`{"op":"subscribe","room":"a*","ref":1}`, "room-invalid", ""},
		{`{"op":"subscribe","room":"lobby","ref":1}`, "already-subscribed", "lobby"},
		{`{"op":"subscribe","room":"hall","ref":1}`, "too-many-rooms", "hall"},
		{`{"op":"unsubscribe","room":"hall","ref":1}`, "not-subscribed", "hall"},
		{`{"op":"publish","room":"lobby","ref":1}`, "message-invalid", "lobby"},
		{`{"op":"publish","room":"a/b","data":1,"ref":1}`, "room-invalid", ""},
		{`{"op":"publish","room":"lobby","data":1,"type":"tidemark.x","ref":1}`, "type-invalid", "lobby"},
		{`{"op":"publish","room":"lobby","data":1,"key":"","ref":1}`, "key-invalid", "lobby"},
		{`{"op":"publish","room":"lobby","ref":1,"data":"` + strings.Repeat("x", 64<<10) + `"}`, "data-too-large", "lobby"},
		{`{"op":"publish","room":"lobby","ref":1,"data":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, "data-too-deep", "lobby"},
	} {
		c.send(tt.message)
		var got struct {
			Op, Code, Detail, Room string
			Ref                    *int
		}
		text := c.frame()
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		if got.Op != "error" || got.Code != tt.code || got.Detail == "" || got.Room != tt.room || (got.Ref != nil) != strings.Contains(tt.message, `"ref":1`) {
			t.Errorf("%.80s:\n%s, want %s", tt.message, text, tt.code)
		}
	}
	c.send(`{"op":"unsubscribe","room":"lobby"}`)
	c.expect(`{"op":"unsubscribed","room":"lobby"}`)
	for _, last := range []string{`0`, `1001`, `"5"`, `null`, `1.5`} {
		c.send(`{"op":"subscribe","room":"lobby","last":` + last + `}`)
		if got := c.frame(); !strings.Contains(got, `"code":"last-invalid"`) {
			t.Errorf("last %s: %s", last, got)
		}
	}
	if h.newest() != before {
		t.Error("something was stored")
	}
}

func TestWebSocketStart(t *testing.T) {
	h := start(t)
	ids := h.publishMany("lobby", 4)
	c := h.dial()
	for start, want := range map[string]string{
		``:                                   "",
		`,"since":""`:                        "",
		`,"since":"now"`:                     "",
		`,"since":"earliest"`:                "1 2 3 4",
		`,"since":"` + ids[1] + `"`:          "3 4",
		`,"since":"-1h"`:                     "[reset] 1 2 3 4", // from before there was a log
		`,"since":"2020-01-01T00:00:00Z"`:    "[reset] 1 2 3 4",
		`,"since":"junk"`:                    "[unknown] 1 2 3 4",
		`,"last":2`:                          "3 4",
		`,"last":2,"since":"` + ids[2] + `"`: "4",
	} {
		c.send(`{"op":"subscribe","room":"lobby"` + start + `}`)
		if got := strings.Join(c.events(), " "); got != want {
			t.Errorf("%s: %q, want %q", start, got, want)
		}
		c.send(`{"op":"unsubscribe","room":"lobby"}`)
		c.expect(`{"op":"unsubscribed","room":"lobby"}`)
	}
}

// events reads frames until the replay of a room ends, like sse.events.
func (c *wsClient) events() []string {
	c.t.Helper()
	var got []string
	for {
		var f struct {
			Op, Reason string
			Data       json.RawMessage
		}
		text := c.frame()
		if err := json.Unmarshal([]byte(text), &f); err != nil {
			c.t.Fatal(err)
		}
		switch f.Op {
		case "subscribed":
		case "event":
			got = append(got, string(f.Data))
		case "gap":
			got = append(got, "["+f.Reason+"]")
		case "live":
			return got
		default:
			c.t.Fatalf("in a replay: %s", text)
		}
	}
}

func TestWebSocketPublish(t *testing.T) {
	h := start(t)
	c := h.dial()
	c.send(`{"op":"publish","room":"lobby","type":"note","data":{"a": 1},"key":"k","ref":2}`)
	id := h.newestOf("lobby", c)
	c.send(`{"op":"publish","room":"lobby","type":"note","data":{"a":1},"key":"k","ref":3}`)
	c.expect(`{"op":"published","room":"lobby","id":"` + id + `","durability":"fsynced","replayed":true,"ref":3}`)
	c.send(`{"op":"publish","room":"lobby","data":2,"key":"k"}`)
	c.expect(`{"op":"error","code":"key-reused","detail":"the idempotency key was used with different content","room":"lobby"}`)

	h.log.writesDown.Store(true)
	c.send(`{"op":"publish","room":"lobby","data":2}`)
	c.expect(`{"op":"error","code":"log-unavailable","detail":"the log cannot be reached","room":"lobby"}`)
}

// newestOf reads the answer to a publish with ref 2 and returns the id in it,
// which must be that of the room's newest event.
func (h *harness) newestOf(room string, c *wsClient) string {
	h.t.Helper()
	got := c.frame()
	page := h.history(room, "?order=desc&limit=1")
	if len(page.Events) != 1 || got != `{"op":"published","room":"`+room+`","id":"`+page.Events[0].ID+`","durability":"fsynced","ref":2}` {
		h.t.Fatalf("%s, and the room holds %+v", got, page.Events)
	}
	return page.Events[0].ID
}

// Publishes sent without waiting are stored, and answered, in their order.
func TestWebSocketPublishesInOrder(t *testing.T) {
	h := start(t)
	c := h.dial()
	const n = 50
	for i := range n {
		c.send(fmt.Sprintf(`{"op":"publish","room":"lobby","data":%d,"ref":%d}`, i, i))
	}
	last := ""
	for i := range n {
		var f struct {
			ID  string
			Ref int
		}
		if err := json.Unmarshal([]byte(c.frame()), &f); err != nil {
			t.Fatal(err)
		}
		if f.Ref != i || f.ID <= last {
			t.Fatalf("answer %d is %+v after %s", i, f, last)
		}
		last = f.ID
	}
}

// Each room of a session catches up separately. A cursor from a WebSocket works in a stream.
func TestWebSocketRooms(t *testing.T) {
	h := start(t, func(s *setup) { s.api.KeepAlive = time.Millisecond })
	h.publishMany("a", 3)
	h.publishMany("b", 3)
	c := h.dial()
	c.send(`{"op":"subscribe","room":"a","since":"earliest"}`)
	if got := c.events(); len(got) != 3 {
		t.Errorf("a: %v", got)
	}
	c.send(`{"op":"subscribe","room":"b","last":1}`)
	if got := c.events(); !slices.Equal(got, []string{"3"}) {
		t.Errorf("b: %v", got)
	}
	cursor := c.position()
	id := h.publish("a", "4")
	c.expect(`{"op":"event","room":"a","id":"` + id + `","type":"message","data":4}`)

	s := h.follow("/v1/events?room=a&room=b", "Last-Event-ID", cursor)
	s.opened()
	if got := s.events(); !slices.Contains(got, `{"room":"a","data":4}`) {
		t.Errorf("after the position: %v", got)
	}
}

// position reads frames up to the next position and returns its cursor.
func (c *wsClient) position() string {
	c.t.Helper()
	for {
		_, text, err := c.ReadMessage()
		if err != nil {
			c.t.Fatal(err)
		}
		var f struct{ Op, Cursor string }
		if err := json.Unmarshal(text, &f); err != nil {
			c.t.Fatal(err)
		}
		if f.Op != "position" {
			continue
		}
		if want := `{"op":"position","cursor":"` + f.Cursor + `"}`; string(text) != want {
			c.t.Fatalf("%s, want %s", text, want)
		}
		return f.Cursor
	}
}

// The cursor of a quiet session moves forward with the log.
func TestWebSocketPositionMoves(t *testing.T) {
	h := start(t, func(s *setup) {
		s.api.KeepAlive = time.Millisecond
		s.node.CheckEvery = time.Millisecond
	})
	c := h.dial()
	c.send(`{"op":"subscribe","room":"quiet"}`)
	newest := h.publish("busy", "1")
	for c.position() < newest {
	}
}

func TestWebSocketOutage(t *testing.T) {
	h := start(t, func(s *setup) { s.node.Hot = 1 })
	h.publishMany("lobby", 3)
	c := h.dial()
	h.log.watermarksDown.Store(true)
	c.send(`{"op":"subscribe","room":"lobby","since":"earliest","ref":1}`)
	c.expect(`{"op":"error","code":"log-unavailable","detail":"the log cannot be reached","room":"lobby","ref":1}`)
	h.log.watermarksDown.Store(false)

	h.log.readsDown.Store(true)
	c.send(`{"op":"subscribe","room":"lobby","since":"earliest"}`)
	c.frame()
	c.expect(`{"op":"error","code":"log-unavailable","detail":"the log cannot be reached"}`)
	c.send(`{"op":"ping"}`) // other messages do not wait
	c.expect(`{"op":"pong"}`)
	h.log.readsDown.Store(false)
	if got := c.events(); !slices.Equal(got, []string{"1", "2", "3"}) {
		t.Errorf("after the outage: %v", got)
	}
}

// A client can unsubscribe from a room that waits for the log.
func TestWebSocketUnsubscribeInAnOutage(t *testing.T) {
	h := start(t, func(s *setup) { s.node.Hot = 1 })
	h.publishMany("lobby", 3)
	c := h.dial()
	h.log.readsDown.Store(true)
	c.send(`{"op":"subscribe","room":"lobby","since":"earliest"}`)
	c.frame()
	c.frame()
	c.send(`{"op":"unsubscribe","room":"lobby"}`)
	c.expect(`{"op":"unsubscribed","room":"lobby"}`)
	h.log.readsDown.Store(false)
	c.send(`{"op":"ping"}`)
	c.expect(`{"op":"pong"}`)
}

func TestWebSocketFramesOfTheWrongKind(t *testing.T) {
	h := start(t)
	c := h.dial()
	if err := c.WriteMessage(websocket.BinaryMessage, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if got := c.closeCode(); got != websocket.CloseUnsupportedData {
		t.Errorf("binary: closed with %d", got)
	}
	c = h.dial()
	_ = c.WriteMessage(websocket.TextMessage, make([]byte, 1<<20)) // the server may close before all of it is written
	if got := c.closeCode(); got != websocket.CloseMessageTooBig {
		t.Errorf("too large: closed with %d", got)
	}
}

func TestWebSocketDraining(t *testing.T) {
	t.Parallel() // it mostly waits
	h := start(t)
	c, quiet := h.dial(), h.dial()
	c.send(`{"op":"subscribe","room":"lobby"}`)
	c.frame()
	c.frame()
	done := make(chan error)
	go func() { done <- h.api.Shutdown(context.Background()) }()
	for _, c := range []*wsClient{c, quiet, h.dial()} {
		if got := c.closeCode(); got != websocket.CloseServiceRestart {
			t.Errorf("closed with %d, want %d", got, websocket.CloseServiceRestart)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that has disappeared without closing is disconnected, because it answers no ping.
func TestHalfOpenPeer(t *testing.T) {
	h := start(t, func(s *setup) { s.api.PingEvery = 10 * time.Millisecond })
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /v1/ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(testTimeout))
	r := bufio.NewReader(conn)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(resp, err)
	}
	pings, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x89\x00\x89\x00"; string(pings) != want {
		t.Errorf("before the end: %q, want two pings", pings)
	}
}

// A client that only answers pings stays connected, and its own pings are answered.
func TestWebSocketPings(t *testing.T) {
	t.Parallel() // it mostly waits
	h := start(t, func(s *setup) { s.api.PingEvery = 300 * time.Millisecond })
	c := h.dial()
	pings, pongs := 0, 0
	answer := c.PingHandler()
	c.SetPingHandler(func(payload string) error {
		if pings++; pings == 4 { // without answers it would be disconnected by now
			_ = c.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(testTimeout))
		}
		return answer(payload)
	})
	c.SetPongHandler(func(payload string) error {
		if pongs++; payload != "p" {
			t.Errorf("pong %q", payload)
		}
		return fmt.Errorf("enough")
	})
	if _, _, err := c.ReadMessage(); err == nil || err.Error() != "enough" || pongs != 1 {
		t.Errorf("%v after %d pongs", err, pongs)
	}
}

// A client that answers pings and sends its own costs no more goroutines than a client
// without pings.
func TestPingsLeaveNoGoroutine(t *testing.T) {
	const sockets, pings = 40, 3
	h := start(t, func(s *setup) { s.api.PingEvery = 20 * time.Millisecond })
	before := runtime.NumGoroutine()
	var answered, clients sync.WaitGroup
	t.Cleanup(clients.Wait)
	for range sockets {
		c := h.dial()
		_ = c.SetReadDeadline(time.Time{}) // it must outlast testTimeout
		answered.Add(pings)
		left, answer := pings, c.PingHandler()
		c.SetPingHandler(func(payload string) error {
			if left--; left >= 0 {
				_ = c.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(testTimeout))
				answered.Done()
			}
			return answer(payload)
		})
		clients.Go(func() { _, _, _ = c.ReadMessage() })
		t.Cleanup(func() { c.Close() })
	}
	answered.Wait()
	const each = 2 // the reader of the test, and the server's
	deadline := time.Now().Add(testTimeout)
	for runtime.NumGoroutine() > before+sockets*each+sockets/2 {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before %d clients connected", runtime.NumGoroutine(), before, sockets)
		}
		time.Sleep(time.Millisecond)
	}
}

// P7 over a WebSocket: see TestStalledClient.
func TestStalledWebSocket(t *testing.T) {
	h := start(t)
	c := h.dial()
	c.send(`{"op":"subscribe","room":"lobby"}`)
	c.frame()
	c.frame()
	const n = 900
	h.fill("lobby", n, 16<<10)
	for i := range n {
		if got, want := c.frame(), fmt.Sprintf(`"data":"%d `, i); !strings.Contains(got[:200], want) {
			t.Fatalf("frame %.200s, want event %d", got, i)
		}
	}
}

// Events arrive while others are being written in several pieces. Clients that keep reading
// receive all of them, however the two interleave.
func TestLargeEventsAllTheTime(t *testing.T) {
	const rounds, n, size = 60, 15, 40 << 10
	h := start(t)
	c := h.dial()
	c.send(`{"op":"subscribe","room":"lobby"}`)
	c.frame()
	c.frame()
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.events()
	var readers sync.WaitGroup
	defer readers.Wait()
	readers.Go(func() {
		for i := range rounds * n {
			if got, want := c.frame(), fmt.Sprintf(`"data":"%d `, i%n); !strings.Contains(got[:200], want) {
				t.Errorf("frame %d is %.200s, want %s", i, got, want)
				return
			}
		}
	})
	readers.Go(func() {
		for i := range rounds * n {
			if got, want := field(s.block(), "data"), fmt.Sprintf(`"%d `, i%n); !strings.HasPrefix(got, want) {
				t.Errorf("block %d is %.200s, want %s", i, got, want)
				return
			}
		}
	})
	for range rounds {
		h.fill("lobby", n, size)
	}
}

// Shutdown does not wait for a WebSocket whose client reads nothing.
func TestShutdownCutsTheStalledWebSocket(t *testing.T) {
	h := start(t)
	c := h.dial()
	c.send(`{"op":"subscribe","room":"lobby"}`)
	c.frame()
	c.frame()
	h.fill("lobby", 400, 60<<10)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.api.Shutdown(ctx); err != context.Canceled {
		t.Errorf("Shutdown: %v, want %v", err, context.Canceled)
	}
}
