package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// BenchmarkCatchUp measures the replay of a thousand events from the node's memory to one
// client that resumes.
func BenchmarkCatchUp(b *testing.B) {
	const n = 1000
	log, err := embedded.Open(b.TempDir(), embedded.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	node := service.New(log, nil)
	defer node.Close()
	handler := api.New(node, nil)
	server := httptest.NewServer(handler)
	defer server.Close()
	defer handler.Shutdown(b.Context())
	drafts := make([]streams.Draft, n)
	for i := range drafts {
		drafts[i] = streams.Draft{Room: "lobby", Type: "message", Data: []byte(`"` + strings.Repeat("x", 100) + `"`)}
	}
	node.Publish(b.Context(), drafts)

	b.Run("transport=websocket", func(b *testing.B) {
		for b.Loop() {
			c, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(server.URL, "http")+"/v1/ws", nil)
			if err != nil {
				b.Fatal(err)
			}
			if err := c.WriteMessage(websocket.TextMessage, []byte(`{"op":"subscribe","room":"lobby","since":"earliest"}`)); err != nil {
				b.Fatal(err)
			}
			for range n + 2 { // subscribed, events, live
				if _, _, err := c.ReadMessage(); err != nil {
					b.Fatal(err)
				}
			}
			c.Close()
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("transport=sse", func(b *testing.B) {
		for b.Loop() {
			r, err := http.NewRequest("GET", server.URL+"/v1/rooms/lobby/events?since=earliest", nil)
			if err != nil {
				b.Fatal(err)
			}
			r.Header.Set("Accept", "text/event-stream")
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				b.Fatal(err)
			}
			readBlocks(b, resp, n+2) // open, events, live
			resp.Body.Close()
		}
		b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
	})
}

// readBlocks reads a stream up to the end of its n-th block.
func readBlocks(b *testing.B, resp *http.Response, n int) {
	b.Helper()
	buf := make([]byte, 64<<10)
	last := byte(0)
	for n > 0 {
		k, err := resp.Body.Read(buf)
		for _, c := range buf[:k] {
			if c == '\n' && last == '\n' {
				n--
			}
			last = c
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
