package api_test

import (
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// stalledHTTP2 opens a guarded HTTP/2 connection and requests n answers on it. The client
// has windows for all of them but does not read from the connection.
func (h *harness) stalledHTTP2(n int, target, accept string) *countedHandler {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	counted := &countedHandler{Handler: h.api}
	web := &http.Server{Handler: counted, ConnContext: api.ConnContext, Protocols: new(http.Protocols)}
	web.Protocols.SetUnencryptedHTTP2(true)
	web.ConnState = func(_ net.Conn, s http.ConnState) { counted.closed.Store(s == http.StateClosed) }
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(h.api.Listen(narrowListener{l}))
	}()
	c, err := narrow().Dial("tcp", l.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		c.Close()
		web.Close()
		<-served
	})
	if _, err := c.Write([]byte(http2.ClientPreface)); err != nil {
		h.t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1}); err != nil {
		h.t.Fatal(err)
	}
	if err := f.WriteWindowUpdate(0, 1<<30); err != nil {
		h.t.Fatal(err)
	}
	for i := range n {
		ask(h.t, f, uint32(2*i+1), target, "accept", accept)
	}
	return counted
}

// A narrowListener gives its connections a small send buffer.
type narrowListener struct{ net.Listener }

func (l narrowListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		_ = c.(*net.TCPConn).SetWriteBuffer(4096)
	}
	return c, err
}

// A countedHandler counts the requests of a connection.
type countedHandler struct {
	http.Handler
	began, ended atomic.Int64
	closed       atomic.Bool // the connection
}

func (h *countedHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.began.Add(1)
	defer h.ended.Add(1)
	h.Handler.ServeHTTP(w, r)
}

// An HTTP/2 client that reads nothing from its TCP connection does not take the reset of a
// stream either. Its evicted requests end nevertheless: otherwise they would hold memory that
// the pool does not count any more.
func TestStalledHTTP2Connections(t *testing.T) {
	const (
		pool, conns, requests = 4 << 20, 4, 16
		events                = 1000 // of 1 KB
	)
	for _, tt := range []struct{ name, target, accept string }{
		{"stream", "/v1/rooms/lobby/events?since=earliest", "text/event-stream"},
		{"history", "/v1/rooms/lobby/events?limit=1000", "application/json"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, func(s *setup) {
				s.api.UnsentMemory = pool
				s.node.Retention = []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: events, Age: time.Hour}}}
			})
			h.fill("lobby", events, 1<<10)
			var counted [conns]*countedHandler
			for i := range counted {
				counted[i] = h.stalledHTTP2(requests, tt.target, tt.accept)
			}
			h.eventually("every request without memory ends", func() bool {
				ended := int64(0)
				for _, c := range counted {
					if !c.closed.Load() && c.began.Load() < requests {
						return false // more requests arrive
					}
					ended += c.ended.Load()
				}
				evicted := int64(h.unsent("tidemark_client_memory_evictions_total"))
				return evicted > 0 && ended >= evicted
			})
			if used := h.unsent("tidemark_client_memory_bytes"); used > pool {
				t.Errorf("%v bytes are held, want at most %d", used, pool)
			}
		})
	}
}
