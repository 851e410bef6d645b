package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// put publishes one event through a trusted proxy, as a client with the address from. It
// returns the status, and the rate limit header and body as text.
func put(t *testing.T, s *program.Server, from string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", s.URL()+"/v1/rooms/a/events", strings.NewReader(`{"data":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", from)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
		t.Error("429 without Retry-After")
	}
	return res.StatusCode, fmt.Sprint(res.Header["Ratelimit"], string(body))
}

// flood publishes n events concurrently, over all nodes in turn. It returns the number of
// answers of each status.
func flood(t *testing.T, n int, from string, nodes ...*program.Server) map[int]int {
	t.Helper()
	var mu sync.Mutex // guards counts
	counts := make(map[int]int)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			status, _ := put(t, nodes[i%len(nodes)], from)
			mu.Lock()
			defer mu.Unlock()
			counts[status]++
		})
	}
	all.Wait()
	return counts
}

// floodSockets publishes n events over one WebSocket to each node. It returns the number of
// answers of each op and code.
func floodSockets(t *testing.T, n int, from string, nodes ...*program.Server) map[string]int {
	t.Helper()
	var mu sync.Mutex // guards counts
	counts := make(map[string]int)
	var all sync.WaitGroup
	for _, s := range nodes {
		ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+s.Addr+"/v1/ws", http.Header{"X-Forwarded-For": {from}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		defer ws.Close()
		all.Go(func() {
			for range n {
				if err := ws.WriteMessage(websocket.TextMessage, []byte(`{"op":"publish","room":"a","data":1}`)); err != nil {
					t.Error(err)
				}
			}
			for range n {
				var answer struct{ Op, Code string }
				if err := ws.ReadJSON(&answer); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				counts[answer.Op+" "+answer.Code]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return counts
}

// A single node enforces the rate per publisher and the rate per address independently.
func TestRatesOfOneNode(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--publish-rate=1/h,15", "--publish-rate-per-address=1/h,10", "--trusted-proxy=127.0.0.1")
	if got := flood(t, 40, "192.0.2.1", s); got[201] != 10 || got[429] != 30 {
		t.Errorf("from one address: %v", got)
	}
	if got := flood(t, 20, "192.0.2.2", s); got[201] != 5 || got[429] != 15 {
		t.Errorf("from another address, until the publisher's limit: %v", got)
	}
}

// Nodes on one Redis count together, with only the permissions of docs/redis.md. If Redis does
// not answer, the limiter refuses no publish.
func TestRatesOfTwoNodes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	setUser(t, server.Client(), documentedUser(t)...)
	redis := "--redis=" + strings.Replace(server.URL(), "://", "://tidemark:secret@", 1)
	flags := []string{redis, "--redis-timeout=1s", "--publish-rate=1/h,40", "--publish-rate-per-address=1/h,10", "--trusted-proxy=127.0.0.0/8"}
	a, b := tidemark.Serve(t, program.Options{}, flags...), tidemark.Serve(t, program.Options{}, flags...)
	for _, from := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1"} {
		if got := flood(t, 40, from, a, b); got[201] != 10 || got[429] != 30 {
			t.Errorf("from %s: %v", from, got)
		}
	}
	if got := floodSockets(t, 20, "192.0.2.9", a, b); got["published "] != 10 || got["error rate-limited"] != 30 {
		t.Errorf("over WebSockets: %v", got)
	}
	if status, text := put(t, a, "192.0.2.3"); status != 429 || !strings.Contains(text, `"publisher";r=0`) {
		t.Errorf("beyond the publisher's limit: %d %s", status, text)
	}
	if got := strings.Count(tidemark.Must(t, at(b), "history", "a", "--limit=100", "--json"), `"id"`); got != 40 {
		t.Errorf("%d events are stored", got)
	}
	if status, text := put(t, b, "2001:db8::ffff"); status != 429 || !strings.Contains(text, `"address";r=0`) {
		t.Errorf("another address of the same network: %d %s", status, text)
	}

	server.Pause()
	if status, text := put(t, a, "192.0.2.1"); status != 503 || !strings.Contains(text, "log-unavailable") {
		t.Errorf("while Redis does not answer: %d %s", status, text)
	}
	server.Resume()
}

// Nodes on one Redis count reads together, by address and by reader.
func TestReadRatesOfTwoNodes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	setUser(t, server.Client(), documentedUser(t)...)
	redis := "--redis=" + strings.Replace(server.URL(), "://", "://tidemark:secret@", 1)
	flags := []string{redis, "--read-rate=1/h,12", "--read-rate-per-address=1/h,5", "--trusted-proxy=127.0.0.0/8"}
	a, b := tidemark.Serve(t, program.Options{}, flags...), tidemark.Serve(t, program.Options{}, flags...)
	read := func(s *program.Server, from string) int {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/v1/rooms/a/events", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Forwarded-For", from)
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	for i, from := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		counts := make(map[int]int)
		for range 4 {
			counts[read(a, from)]++
			counts[read(b, from)]++
		}
		if want := min(5, 12-5*i); counts[200] != want || counts[429] != 8-want {
			t.Errorf("from %s: %v, want %d times 200", from, counts, want)
		}
	}
}

// documentedUser returns the arguments of ACL SETUSER in docs/redis.md.
func documentedUser(t *testing.T) []any {
	t.Helper()
	page, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`ACL SETUSER (.*)`).FindSubmatch(page)
	if rule == nil {
		t.Fatal("docs/redis.md has no line with ACL SETUSER")
	}
	var words []any
	for _, word := range strings.Fields(string(rule[1])) {
		words = append(words, word)
	}
	return words
}
