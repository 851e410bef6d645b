package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// narrow is a dialer whose connections have a small receive buffer.
func narrow() *net.Dialer {
	return &net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 2048) })
	}}
}

// stall sends a request over HTTP/1.1 and does not read the answer.
func (h *harness) stall(target, accept string) net.Conn {
	h.t.Helper()
	c, err := narrow().Dial("tcp", strings.TrimPrefix(h.url, "http://"))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\n\r\n", target, accept); err != nil {
		h.t.Fatal(err)
	}
	return c
}

// unsent returns the value of a metric of the pool of unsent data.
func (h *harness) unsent(name string) float64 {
	h.t.Helper()
	families, err := h.registry.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == "unsent" {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	h.t.Fatalf("no metric %s", name)
	return 0
}

// eventually waits until ok returns true.
func (h *harness) eventually(what string, ok func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(testTimeout); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			h.t.Fatal("did not happen: " + what)
		}
	}
}

// Clients that do not read share a bounded memory: the one that has read nothing for longest
// is cut off. A client that reads is not.
func TestUnsentMemory(t *testing.T) {
	const pool, stalled, events = 4 << 20, 16, 1000 // of 1 KB, so a batch of 256 has 256 KB
	for _, tt := range []struct{ name, target, accept string }{
		{"stream", "/v1/rooms/lobby/events?since=earliest", "text/event-stream"},
		{"history", "/v1/rooms/lobby/events?limit=1000", "application/json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := start(t, func(s *setup) {
				s.api.UnsentMemory, s.http.narrow = pool, true
				s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: events, Age: time.Hour}}}
			})
			h.fill("lobby", events, 1<<10)
			conns := make([]net.Conn, stalled)
			for i := range conns {
				conns[i] = h.stall(tt.target, tt.accept)
			}
			h.eventually("an eviction", func() bool {
				if used := h.unsent("tidemark_client_memory_bytes"); used > pool {
					t.Fatalf("%v bytes are held, want at most %d", used, pool)
				}
				return h.unsent("tidemark_client_memory_evictions_total") > 0
			})
			reader := h.follow("/v1/rooms/lobby/events?since=earliest")
			reader.opened()
			if got := reader.events(); len(got) != events {
				t.Errorf("a client that reads got %d events, want %d", len(got), events)
			}
			cut := 0
			for _, c := range conns {
				_ = c.SetReadDeadline(time.Now().Add(testTimeout))
				// A client that was not cut off gets its answer, and a stream goes on.
				if wasCut(t, c, events) {
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

// wasCut reads an answer up to its end, or up to the last of n events. It reports whether
// the answer was incomplete.
func wasCut(t *testing.T, c net.Conn, n int) bool {
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return true
	}
	r, last := bufio.NewReader(resp.Body), fmt.Sprintf(`"%d x`, n-1)
	for {
		line, err := r.ReadString('\n')
		if strings.Contains(line, last) || strings.HasSuffix(line, "}\n") && resp.Header.Get("Content-Type") == "application/json" {
			return false
		}
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF && !strings.Contains(err.Error(), "reset") {
				t.Errorf("reading failed with %v", err)
			}
			return true
		}
	}
}
