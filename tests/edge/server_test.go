//go:build linux

package edge

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
)

// A server is the program as a process, with a client that reads its metrics.
type server struct {
	*program.Server
	t    testing.TB
	http *http.Client // each request on a connection of its own
	tls  *tls.Config  // for its clients; nil without TLS
}

// URL is the server's address in the form that clients take.
func (s *server) URL() string {
	if s.tls != nil {
		return "https://" + s.Addr
	}
	return s.Server.URL()
}

// serve starts the program. It ends with the test.
func serve(t testing.TB, args ...string) *server {
	t.Helper()
	once := &http.Transport{DisableKeepAlives: true}
	return &server{
		Server: tidemark.Serve(t, program.Options{}, args...),
		t:      t,
		http:   &http.Client{Transport: once, Timeout: wait.Limit},
	}
}

// holdings are the resources that a server holds.
type holdings struct {
	sse, sockets         int // connections, from /metrics
	subscriptions, rooms int // from /metrics
	descriptors          int // from /proc
	goroutines           int // from /metrics
}

// holdings returns the resources that the server holds now, which include the connection of
// this request.
func (s *server) holdings() holdings {
	s.t.Helper()
	m := s.metrics()
	return holdings{
		sse:           int(m[`tidemark_connections{transport="sse"}`]),
		sockets:       int(m[`tidemark_connections{transport="websocket"}`]),
		subscriptions: int(m["tidemark_subscriptions"]),
		rooms:         int(m["tidemark_rooms"]),
		goroutines:    int(m["go_goroutines"]),
		descriptors:   s.descriptors(),
	}
}

// metrics returns the values on /metrics by name and labels.
func (s *server) metrics() map[string]float64 {
	s.t.Helper()
	status, text := s.get("/metrics")
	if status != http.StatusOK {
		s.t.Fatalf("/metrics: %d %s", status, text)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil && name != "#" {
			values[name] = number
		}
	}
	return values
}

// get reads one page of the server.
func (s *server) get(path string) (status int, text string) {
	s.t.Helper()
	res, err := s.http.Get(s.URL() + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// descriptors counts the open files and sockets of the process.
func (s *server) descriptors() int {
	s.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.PID()))
	if err != nil {
		s.t.Fatal(err)
	}
	return len(open)
}

// awaitRest waits until no client is connected, and returns the server's holdings then.
func (s *server) awaitRest() holdings {
	s.t.Helper()
	return s.await("no connections", func(h holdings) bool {
		return h.sse == 0 && h.sockets == 0 && h.subscriptions == 0
	})
}

// awaitReturn waits until the server holds no more than before.
func (s *server) awaitReturn(before holdings) {
	s.t.Helper()
	s.await(fmt.Sprintf("no more than %+v", before), func(h holdings) bool {
		return h.sse == before.sse && h.sockets == before.sockets && h.subscriptions == before.subscriptions &&
			h.descriptors <= before.descriptors && h.goroutines <= before.goroutines
	})
}

// await waits until ok holds of the server's holdings, and returns them.
func (s *server) await(what string, ok func(holdings) bool) (h holdings) {
	s.t.Helper()
	if !wait.For(func() bool { h = s.holdings(); return ok(h) }) {
		s.t.Fatalf("want %s; the server holds %+v\n%s", what, h, s.leakReport())
	}
	return h
}
