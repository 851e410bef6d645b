package api_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// An httpKind is a way in which requests reach the server. The zero value is HTTP/1.1.
type httpKind struct {
	name   string
	tls    bool
	shared bool // HTTP/2: streams on one connection
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

// eachHTTP runs a test over each kind of HTTP. What a stream says, and how it ends, must
// not depend on it.
func eachHTTP(t *testing.T, test func(t *testing.T, over func(*setup))) {
	for _, kind := range httpKinds() {
		t.Run(kind.name, func(t *testing.T) {
			test(t, func(s *setup) { s.http = kind })
		})
	}
}

// serve starts a server for handler, and returns it with what asks it in this way.
func (k httpKind) serve(handler http.Handler) (*httptest.Server, *http.Transport) {
	server := httptest.NewUnstartedServer(handler)
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

// brokenOff reports whether err is of a stream that did not end in order: to some clients
// that is for good.
func brokenOff(err error) bool {
	_, reset := errors.AsType[http2.StreamError](err)
	return reset || err == io.ErrUnexpectedEOF
}

// Of the streams on one connection, one that is not read delays no other, and is broken
// off alone when its client has taken nothing for too long.
func TestStalledStreamAmongOthers(t *testing.T) {
	for _, kind := range httpKinds()[2:] {
		t.Run(kind.name, func(t *testing.T) {
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

// There is no upgrade in HTTP/2, and the answer to whoever wants one is well-formed.
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

// A node that is about to go says so to who asks, and has publishers use another
// connection for what comes next: no request is lost to one that is closed under it.
// (Over HTTP/2 that is GOAWAY.) It serves all the same, streams too.
func TestAnnounced(t *testing.T) {
	eachHTTP(t, func(t *testing.T, over func(*setup)) {
		h := start(t, over)
		s := h.follow("/v1/rooms/lobby/events")
		s.opened()
		s.events()
		if first, second := h.connectionOf("/livez"), h.connectionOf("/livez"); first != second {
			t.Fatal("connections are not kept")
		}
		h.api.Announce()
		if a := h.request("GET", "/readyz", ""); a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, `"reasons":["draining"]`) {
			t.Errorf("readyz: %d %s", a.status, a.body)
		}
		if first, second := h.connectionOf("/livez"), h.connectionOf("/livez"); first == second {
			t.Error("the connection is kept")
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

// connectionOf asks for path, and returns the client's end of the connection that was used.
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
