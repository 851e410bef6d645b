package api_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// stalledSocket opens a WebSocket with a small receive buffer that follows the lobby from its
// beginning. It does not read the events.
func (h *harness) stalledSocket() *websocket.Conn {
	h.t.Helper()
	d := websocket.Dialer{NetDialContext: narrow().DialContext, HandshakeTimeout: testTimeout}
	if c := h.transport.TLSClientConfig; c != nil {
		d.TLSClientConfig = &tls.Config{RootCAs: c.RootCAs}
	}
	c, _, err := d.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/v1/ws", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if err := c.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe","room":"lobby","since":"earliest"}`)); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// readsTo reports whether a WebSocket delivers the last of n events.
func readsTo(c *websocket.Conn, n int) bool {
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	for last := fmt.Sprintf(`"data":"%d x`, n-1); ; {
		_, text, err := c.ReadMessage()
		if err != nil || strings.Contains(string(text), last) {
			return err == nil
		}
	}
}

// WebSockets whose clients do not read share the memory of unsent data, also over TLS. Some
// lose their connection, the others go on where they were, and a client that reads gets
// everything.
func TestUnsentMemoryOfWebSockets(t *testing.T) {
	const pool, stalled, events = 4 << 20, 16, 1000 // of 1 KB
	for _, kind := range httpKinds()[:2] {
		t.Run(kind.name, func(t *testing.T) {
			kind.narrow = true
			h := start(t, func(s *setup) {
				s.api.UnsentMemory, s.http = pool, kind
				s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: events, Age: time.Hour}}}
			})
			h.fill("lobby", events, 1<<10)
			conns := make([]*websocket.Conn, stalled)
			for i := range conns {
				conns[i] = h.stalledSocket()
			}
			h.eventually("an eviction", func() bool {
				if used := h.unsent("tidemark_client_memory_bytes"); used > pool {
					t.Fatalf("%v bytes are held, want at most %d", used, pool)
				}
				return h.unsent("tidemark_client_memory_evictions_total") > 0
			})
			if !readsTo(h.stalledSocket(), events) {
				t.Error("a client that reads is cut off")
			}
			cut := 0
			for _, c := range conns {
				if !readsTo(c, events) {
					cut++
				}
			}
			if cut == 0 || cut == stalled {
				t.Errorf("%d of %d clients were cut off", cut, stalled)
			}
			for _, c := range conns {
				c.Close()
			}
			h.eventually("all memory is free", func() bool { return h.unsent("tidemark_client_memory_bytes") == 0 })
		})
	}
}
