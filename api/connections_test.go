package api_test

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// sendPublishes publishes n events without waiting for answers.
func (c *wsClient) sendPublishes(n int) {
	for i := range n {
		c.send(fmt.Sprintf(`{"op":"publish","room":"lobby","data":%d,"ref":%d}`, i, i))
	}
}

// Messages that a client sends before it closes, or before a forbidden frame, are executed
// and answered in order. The close frame comes after the answers.
func TestPublishThenEnd(t *testing.T) {
	const n = 20
	for name, end := range map[string]func(*wsClient) error{
		"close": func(c *wsClient) error {
			return c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(testTimeout))
		},
		"binary": func(c *wsClient) error { return c.WriteMessage(websocket.BinaryMessage, []byte("x")) },
	} {
		for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
			t.Run(fmt.Sprint(name, " ", delay), func(t *testing.T) {
				h := start(t)
				h.log.appendDelay.Store(int64(delay))
				c := h.dial()
				c.sendPublishes(n)
				if err := end(c); err != nil {
					t.Fatal(err)
				}
				for i := range n {
					if got, want := c.frame(), fmt.Sprintf(`"ref":%d}`, i); !strings.HasPrefix(got, `{"op":"published"`) || !strings.HasSuffix(got, want) {
						t.Fatalf("answer %d is %s", i, got)
					}
				}
				if code := c.closeCode(); name == "binary" && code != websocket.CloseUnsupportedData {
					t.Errorf("closed with %d", code)
				}
				if p := h.history("lobby", ""); len(p.Events) != n {
					t.Errorf("%d events are stored, want %d", len(p.Events), n)
				}
			})
		}
	}
}

// A client that publishes while the node drains, and reads slowly, gets the answers to every
// publish that was begun, and then the reason for the close.
func TestDrainingAPublisher(t *testing.T) {
	h := start(t)
	h.log.appendDelay.Store(int64(50 * time.Millisecond))
	c := h.dialNarrow()
	stop := make(chan struct{})
	var publisher, shutdown sync.WaitGroup
	publisher.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond): // much faster than the log
				if c.WriteMessage(websocket.TextMessage, []byte(`{"op":"publish","room":"lobby","data":1}`)) != nil {
					return
				}
			}
		}
	})
	answered := 0
	for ; answered < 10; answered++ {
		c.frame()
	}
	shutdown.Go(func() { _ = h.api.Shutdown(context.Background()) })
	for {
		time.Sleep(time.Millisecond) // a slow client
		_, text, err := c.ReadMessage()
		if err == nil {
			if strings.Contains(string(text), `"published"`) {
				answered++
			}
			continue
		}
		if e, ok := err.(*websocket.CloseError); !ok || e.Code != websocket.CloseServiceRestart {
			t.Errorf("the connection ends with %v", err)
		}
		break
	}
	close(stop)
	c.Close()
	publisher.Wait()
	shutdown.Wait()
	if p := h.history("lobby", "?limit=1000"); len(p.Events) != min(answered, 1000) {
		t.Errorf("%d are stored, %d were answered", len(p.Events), answered)
	}
}

// dialNarrow opens a WebSocket with a small receive buffer.
func (h *harness) dialNarrow() *wsClient {
	h.t.Helper()
	narrow := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
	dialer := websocket.Dialer{NetDialContext: narrow.DialContext}
	conn, resp, err := dialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	resp.Body.Close()
	h.t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
		h.t.Fatal(err)
	}
	return &wsClient{Conn: conn, t: h.t}
}

// Clients that reconnect at once while the server drains are rejected, and do not keep
// Shutdown from returning. (TestInFlightAddedAtOnce provokes the race in this reliably.)
func TestReconnectingToADrainingServer(t *testing.T) {
	for range 10 {
		h := start(t)
		stop := make(chan struct{})
		var clients sync.WaitGroup
		for range 8 {
			clients.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					c, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", nil)
					if err != nil {
						continue
					}
					resp.Body.Close()
					for err == nil {
						_, _, err = c.ReadMessage()
					}
					c.Close()
				}
			})
		}
		h.await("tidemark_connections{transport=\"websocket\"} 8")
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_ = h.api.Shutdown(ctx) // it must return
		cancel()
		close(stop)
		clients.Wait()
	}
}

// A panic in the task of one client must not disconnect the others.
func TestPanicForOneClient(t *testing.T) { eachHTTP(t, testPanicForOneClient) }

func testPanicForOneClient(t *testing.T, over func(*setup)) {
	h := start(t, over, func(s *setup) { s.node.Hot = 2 }) // so that most is read from the log
	other := h.follow("/v1/rooms/hall/events")
	other.opened()
	other.events()
	h.publishMany("lobby", 50)
	h.log.panics.Store(true)
	s := h.follow("/v1/rooms/lobby/events?since=earliest")
	s.opened()
	s.expect("") // the stream is reset
	h.log.panics.Store(false)
	id := h.publish("hall", "1")
	other.expect("data: 1\nid: " + id + "\n")
	h.await("tidemark_connections{transport=\"sse\"} 1")
}

// A Content-Length without a body allocates no memory.
func TestAnnouncedBody(t *testing.T) {
	const clients, announced = 100, 8 << 20
	h := start(t)
	before := heap()
	for range clients {
		conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", announced)
		if _, err := conn.Read(make([]byte, 100)); err != nil { // the server waits for it
			t.Fatal(err)
		}
	}
	if grown := heap() - before; grown > clients*announced/10 {
		t.Errorf("%d clients hold %d bytes", clients, grown)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
