package api_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// An httpKind is a version of HTTP, with or without TLS. The zero value is HTTP/1.1 without.
type httpKind struct {
	name   string
	tls    bool
	shared bool // HTTP/2: streams on one connection
	narrow bool // the server's send buffers are small
}

func httpKinds() []httpKind {
	return []httpKind{
		{name: "http1"},
		{name: "http1 over TLS", tls: true},
		{name: "h2c", shared: true}, // begun by prior knowledge
		{name: "h2", tls: true, shared: true},
	}
}

func (k httpKind) major() int {
	if k.shared {
		return 2
	}
	return 1
}

// eachHTTP runs a test over each kind of HTTP. The blocks of a stream and its end must not
// depend on it.
func eachHTTP(t *testing.T, test func(t *testing.T, over func(*setup))) {
	for _, kind := range httpKinds() {
		t.Run(kind.name, func(t *testing.T) {
			test(t, func(s *setup) { s.http = kind })
		})
	}
}

// serve starts a server for handler and returns it with a transport that uses k.
func (k httpKind) serve(handler http.Handler) (*httptest.Server, *http.Transport) {
	server := httptest.NewUnstartedServer(handler)
	if k.narrow {
		server.Config.ConnState = func(c net.Conn, s http.ConnState) {
			if inner, ok := c.(*tls.Conn); ok {
				c = inner.NetConn()
			}
			if s == http.StateNew {
				_ = c.(*net.TCPConn).SetWriteBuffer(4096)
			}
		}
	}
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	if k.tls {
		server.EnableHTTP2 = k.shared
		server.Config.Protocols.SetHTTP2(k.shared)
		server.StartTLS()
	} else {
		server.Config.Protocols.SetUnencryptedHTTP2(k.shared)
		server.Start()
	}
	transport := server.Client().Transport.(*http.Transport)
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(!k.shared)
	transport.Protocols.SetHTTP2(k.shared && k.tls)
	transport.Protocols.SetUnencryptedHTTP2(k.shared && !k.tls)
	return server, transport
}

// brokenOff reports whether err is that of a stream which was reset. Some clients take an
// orderly end as final.
func brokenOff(err error) bool {
	_, reset := errors.AsType[http2.StreamError](err)
	return reset || err == io.ErrUnexpectedEOF
}

// A stream that is not read delays no other stream on its connection. It alone is reset once
// the client has read nothing for too long.
func TestStalledStreamAmongOthers(t *testing.T) {
	for _, kind := range httpKinds()[2:] {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel() // it mostly waits
			h := start(t, func(s *setup) { s.http, s.api.WriteTimeout = kind, 2*time.Second })
			read, stalled := h.follow("/v1/rooms/lobby/events"), h.follow("/v1/rooms/lobby/events")
			for _, s := range []*sse{read, stalled} {
				s.opened()
				s.events()
			}
			const n = 600 // times 16 KiB: more than a stream's window
			h.fill("lobby", n, 16<<10)
			for i := 0; i < n; {
				if b := read.block(); field(b, "event") != "tidemark.live" {
					if want := fmt.Sprintf(`"%d `, i); !strings.HasPrefix(field(b, "data"), want) {
						t.Fatalf("block %.80q, want event %d", b, i)
					}
					i++
				}
			}
			h.await(`tidemark_connections{transport="sse"} 1`)
			if _, err := io.Copy(io.Discard, stalled.reader); !brokenOff(err) {
				t.Errorf("the stalled stream ends with %v", err)
			}
			id := h.publish("lobby", "1")
			read.expect("data: 1\nid: " + id + "\n")
		})
	}
}

// HTTP/2 has no upgrade. The answer to a request for one is well-formed.
func TestNoUpgradeOverHTTP2(t *testing.T) {
	eachHTTP(t, func(t *testing.T, over func(*setup)) {
		h := start(t, over)
		a := h.request("GET", "/v1/ws", "")
		if p := a.problem(t); a.status != http.StatusUpgradeRequired || p.Code != "upgrade-required" {
			t.Errorf("%d %s", a.status, a.body)
		}
		if got, want := a.header.Get("Upgrade"), h.major == 1; (got == "websocket") != want {
			t.Errorf("Upgrade: %q", got)
		}
	})
}

// A node that has announced its shutdown is not ready, and asks publishers to use another
// connection for their next request (with GOAWAY over HTTP/2), so that no request meets a
// connection that closes. It still serves requests and streams.
func TestAnnounced(t *testing.T) {
	eachHTTP(t, func(t *testing.T, over func(*setup)) {
		h := start(t, over)
		s := h.follow("/v1/rooms/lobby/events")
		s.opened()
		s.events()
		if first, second := h.connectionOf("/livez"), h.connectionOf("/livez"); first != second {
			t.Fatal("the connection was not reused")
		}
		h.api.Announce()
		if a := h.request("GET", "/readyz", ""); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"reasons":["draining"]`) {
			t.Errorf("readyz: %d %s", a.status, a.body)
		}
		if first, second := h.connectionOf("/livez"), h.connectionOf("/livez"); first == second {
			t.Error("the connection was reused")
		}
		late := h.follow("/v1/rooms/lobby/events")
		late.opened()
		late.events()
		id := h.publish("lobby", "1")
		for _, s := range []*sse{s, late} {
			s.expect("data: 1\nid: " + id + "\n")
		}
	})
}

// connectionOf requests path and returns the client's address of the connection that was used.
func (h *harness) connectionOf(path string) (address string) {
	h.t.Helper()
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { address = info.Conn.LocalAddr().String() }}
	r, err := http.NewRequestWithContext(httptrace.WithClientTrace(h.t.Context(), trace), "GET", h.url+path, nil)
	if err != nil {
		h.t.Fatal(err)
	}
	resp, err := h.client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return address
}
