package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A stuckLog answers no request, like a server whose packets are dropped on the way.
type stuckLog struct{ streams.Log }

func (stuckLog) Partitions() int { return 1 }

func (stuckLog) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	<-ctx.Done()
	receipts := make([]streams.Receipt, len(drafts))
	for i := range receipts {
		receipts[i].Err = ctx.Err()
	}
	return receipts
}

func (stuckLog) Watermarks(ctx context.Context, _ streams.Partition, _ []streams.Room) (streams.Watermarks, error) {
	<-ctx.Done()
	return streams.Watermarks{}, ctx.Err()
}

func (stuckLog) Ping(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (stuckLog) Feed(streams.Partition) streams.Feed {
	return stuckFeed{make(chan streams.FeedMessage)}
}

type stuckFeed struct{ signals chan streams.FeedMessage }

func (stuckFeed) Join(streams.Room, uint64)              {}
func (stuckFeed) Leave(streams.Room)                     {}
func (f stuckFeed) Messages() <-chan streams.FeedMessage { return f.signals }
func (f stuckFeed) Close()                               { close(f.signals) }

// A request that needs a log which does not answer fails within a time limit.
func TestStuckLog(t *testing.T) {
	for _, tt := range []struct {
		method, path, accept string
		limit                time.Duration
		status               int
		body                 string
	}{
		{"POST", "/v1/rooms/lobby/events", "", 8 * time.Second, 503, `"code":"log-unavailable"`},
		{"GET", "/v1/rooms/lobby/events", "application/json", 10 * time.Second, 503, `"code":"log-unavailable"`},
		{"GET", "/v1/rooms/lobby/events?since=earliest", "text/event-stream", 10 * time.Second, 200, `"code":"log-unavailable"`},
		{"GET", "/readyz", "", 2 * time.Second, 503, `"reasons":["log-unavailable"]`},
	} {
		synctest.Test(t, func(t *testing.T) { // in virtual time
			node := service.New(stuckLog{}, nil)
			defer node.Close()
			handler := api.New(node, nil)
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(`{"data":1}`))
			r.Header.Set("Accept", tt.accept)
			w := httptest.NewRecorder()
			start := time.Now()
			func() {
				defer func() {
					if p := recover(); p != nil && p != http.ErrAbortHandler { // a stream is reset
						panic(p)
					}
				}()
				handler.ServeHTTP(w, r)
			}()
			if took := time.Since(start); took != tt.limit || w.Code != tt.status || !strings.Contains(w.Body.String(), tt.body) {
				t.Errorf("%s %s: after %v: %d %s", tt.method, tt.path, took, w.Code, w.Body)
			}
		})
	}
}

// A body that ends early is refused and stores nothing.
func TestBodyCutShort(t *testing.T) {
	h := start(t)
	before := h.newest()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 20\r\n\r\n{\"data\":1}")
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var p problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil || p.Code != "body-invalid" {
		t.Errorf("%d %+v %v", resp.StatusCode, p, err)
	}
	if h.newest() != before {
		t.Error("the event was stored")
	}
}

// A page of history that is written in several pieces is complete.
func TestLargeHistory(t *testing.T) { eachHTTP(t, testLargeHistory) }

func testLargeHistory(t *testing.T, over func(*setup)) {
	h := start(t, over)
	h.fill("lobby", 250, 4<<10)
	p := h.history("lobby", "?limit=1000")
	if len(p.Events) != 250 {
		t.Fatalf("%d events", len(p.Events))
	}
	for i, e := range p.Events {
		if !strings.HasPrefix(string(e.Data), fmt.Sprintf(`"%d `, i)) {
			t.Fatalf("event %d is %.40s", i, e.Data)
		}
	}
}

// A stream that never pauses is drained too, between two blocks.
func TestDrainingABusyStream(t *testing.T) { eachHTTP(t, testDrainingABusyStream) }

func testDrainingABusyStream(t *testing.T, over func(*setup)) {
	h := start(t, over)
	s := h.follow("/v1/rooms/lobby/events")
	s.opened()
	s.events()
	h.fill("lobby", 400, 60<<10) // more than the sockets' buffers
	done := make(chan error)
	go func() { done <- h.api.Shutdown(context.Background()) }()
	for h.request("GET", "/readyz", "").status == http.StatusOK {
	}
	for i := 0; ; i++ {
		b := s.block()
		if field(b, "event") == "tidemark.error" {
			break
		}
		if !strings.HasPrefix(field(b, "data"), fmt.Sprintf(`"%d `, i)) {
			t.Fatalf("block %.80q, want event %d", b, i)
		}
	}
	s.expect("")
	if err := <-done; err != nil {
		t.Error(err)
	}
}
