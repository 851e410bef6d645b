package api_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// withBodies bounds the memory of bodies. A body may take an hour, so that a test shows which
// bound ended its reading.
func withBodies(bytes int64) func(*setup) {
	return func(s *setup) { s.api.BodiesMemory, s.api.BodyTimeout = bytes, time.Hour }
}

// upload begins a publish with a body of size bytes, of which it sends the first sent ones.
func (h *harness) upload(size, sent int) net.Conn {
	h.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	body := `{"events":[` + strings.Repeat(" ", sent)
	if _, err := fmt.Fprintf(conn, "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", size, body[:sent]); err != nil {
		h.t.Fatal(err)
	}
	return conn
}

// awaitMemory waits until bodies hold at least least and at most most bytes.
func (h *harness) awaitMemory(least, most float64) {
	h.t.Helper()
	deadline := time.Now().Add(testTimeout)
	for {
		got := h.value("tidemark_client_memory_bytes", "bodies")
		if least <= got && got <= most {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("bodies hold %v bytes, want %v to %v", got, least, most)
		}
		time.Sleep(time.Millisecond)
	}
}

// A body holds the memory that its bytes need, not what its Content-Length announces, and
// gives it back when it is answered or its client leaves.
func TestBodyMemoryFollowsTheBytes(t *testing.T) {
	h := start(t)
	small := h.upload(8<<20, 4<<10)
	large := h.upload(8<<20, 1<<20)
	h.awaitMemory(1<<20, 2<<20+16<<10)
	large.Close()
	h.awaitMemory(0, 0)
	small.Close()
	if a := h.request("POST", "/v1/events", `{"events":[`+strings.Repeat(" ", 1<<20)+`]}`); a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.body)
	}
	h.awaitMemory(0, 0)
}

// If bodies need more memory than they may, the one that has made no progress for longest is
// refused at once. A body that arrives fast is never refused because others are slow.
func TestSlowBodiesLoseTheirMemory(t *testing.T) { eachHTTP(t, testSlowBodies) }

func testSlowBodies(t *testing.T, over func(*setup)) {
	h := start(t, over, withBodies(8<<20))
	const slow = 20
	answers := make(chan answer, slow)
	for i := range slow {
		body, client := io.Pipe()
		t.Cleanup(func() { client.Close() })
		r, err := http.NewRequestWithContext(t.Context(), "POST", h.url+"/v1/events", body)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			res, err := h.transport.RoundTrip(r) // the client would read the whole body first
			if err != nil {
				answers <- answer{body: err.Error()}
				return
			}
			defer res.Body.Close()
			text, _ := io.ReadAll(res.Body)
			answers <- answer{res.StatusCode, res.Header, string(text)}
		}()
		if _, err := io.WriteString(client, `{"events":[`+strings.Repeat(" ", 520<<10)); err != nil { // needs 1 MiB
			t.Fatal(err)
		}
		h.awaitMemory(1<<20*float64(min(i+1, 7)), 8<<20)
		a := h.request("POST", "/v1/events", `{"events":[`+strings.Repeat(" ", 200<<10)+`{"room":"a","data":1}]}`)
		if a.status != http.StatusOK {
			t.Errorf("a fast body: %d %s", a.status, a.body)
		}
	}
	for range slow - 8 {
		a := <-answers
		if a.status == 0 {
			t.Fatal(a.body)
		}
		if p := a.problem(t); a.status != http.StatusServiceUnavailable || p.Code != "overloaded" || a.header.Get("Retry-After") != "1" {
			t.Errorf("a slow body: %d %s %v", a.status, a.body, a.header)
		}
	}
	if got := h.value("tidemark_client_memory_evictions_total", "bodies"); got < slow-8 {
		t.Errorf("%v evictions, want %d", got, slow-8)
	}
}

// A publish that waits for the log gives its memory up for others: it is answered at once, and
// its client cannot know whether it is stored.
func TestWaitingPublishLosesItsMemory(t *testing.T) {
	h := start(t, withBodies(2<<20))
	release, appending := make(chan struct{}), make(chan context.Context, 1)
	defer close(release)
	h.log.holdAppends.Store(&release)
	h.log.onAppend.Store(new(func(ctx context.Context) { appending <- ctx }))
	waiting := make(chan answer)
	go func() {
		a, _ := h.try("POST", "/v1/events", `{"events":[{"room":"a","data":1}`+strings.Repeat(" ", 1<<20)+`]}`)
		waiting <- a
	}()
	ctx := <-appending
	h.awaitMemory(1<<20, 2<<20)
	h.upload(8<<20, 1<<20)
	a := <-waiting
	if a.status != http.StatusOK || !strings.Contains(a.body, `"code":"overloaded"`) || !strings.Contains(a.body, "may have been stored") {
		t.Errorf("%d %s", a.status, a.body)
	}
	if err := ctx.Err(); err != context.Canceled {
		t.Errorf("the append ended with %v, want %v", err, context.Canceled)
	}
}

// A body that needs more than the whole pool is refused. The next request is served.
func TestBodyBeyondThePool(t *testing.T) {
	h := start(t, withBodies(1<<20))
	conn := h.upload(8<<20, 2<<20)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusServiceUnavailable || !res.Close {
		t.Errorf("%d, close %v", res.StatusCode, res.Close)
	}
	h.publish("a", "1")
}
