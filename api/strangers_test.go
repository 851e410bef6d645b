package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tidemark/tidemark/api"
)

// A request that its client has given up is not even answered.
func TestAbandonedRequest(t *testing.T) {
	h := start(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r := httptest.NewRequestWithContext(ctx, "POST", "/v1/rooms/lobby/events", strings.NewReader(`{"data":1}`))
	w := httptest.NewRecorder()
	before := h.newest()
	h.api.ServeHTTP(w, r)
	if w.Body.Len() > 0 || h.newest() != before {
		t.Errorf("answered with %s", w.Body)
	}
}

// framesTo connects to a server with guarded connections and returns a framer. The
// connection's window is 0, so that the client takes no answer's body.
func (h *harness) framesTo(web *http.Server) (*http2.Framer, net.Conn) {
	h.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		h.t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(h.api.Listen(l))
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		c.Close()
		web.Close()
		<-served
	})
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		h.t.Fatal(err)
	}
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}); err != nil {
		h.t.Fatal(err)
	}
	return f, c
}

// ask sends a GET on a stream.
func ask(t *testing.T, f *http2.Framer, stream uint32, path string, header ...string) {
	t.Helper()
	var b bytes.Buffer
	enc := hpack.NewEncoder(&b)
	fields := append([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", path}, header...)
	for i := 0; i < len(fields); i += 2 {
		_ = enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndStream: true, EndHeaders: true})
	if err != nil {
		t.Fatal(err)
	}
}

// statuses reads the statuses of n answers.
func statuses(t *testing.T, f *http2.Framer, n int) map[string]int {
	t.Helper()
	seen := make(map[string]int)
	for i := 0; i < n; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if head, ok := frame.(*http2.MetaHeadersFrame); ok {
			seen[head.PseudoValue("status")]++
			i++
		}
	}
	return seen
}

// A client that has shown no credential and takes no answer has few open requests.
func TestStrangersRequests(t *testing.T) {
	h := start(t, withAuth(t))
	web := &http.Server{Handler: h.api, ConnContext: api.ConnContext, Protocols: new(http.Protocols)}
	web.Protocols.SetUnencryptedHTTP2(true)
	f, _ := h.framesTo(web)
	const refused = 5
	for i := range 16 + refused {
		ask(t, f, uint32(2*i+1), "/v1/rooms/lobby/events")
	}
	if got := statuses(t, f, 16+refused); got["401"] != 16 || got["429"] != refused {
		t.Errorf("answers %v, want 16 of 401 and %d of 429", got, refused)
	}
}

// Beyond the rate of its address, a client loses a connection on which it resets a request,
// unless a stream is open there.
func TestResetsBesideAStream(t *testing.T) {
	h := start(t)
	opened := make(chan context.Context, 1)
	connect := func() (*http2.Framer, context.Context) {
		web := &http.Server{Handler: h.api, Protocols: new(http.Protocols), ConnState: api.ConnState}
		web.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			ctx = api.ConnContext(ctx, c)
			opened <- ctx
			return ctx
		}
		web.Protocols.SetUnencryptedHTTP2(true)
		f, _ := h.framesTo(web)
		return f, <-opened
	}
	reset := func(conn context.Context, n int) {
		ctx, cancel := context.WithCancel(conn)
		cancel()
		r := httptest.NewRequestWithContext(ctx, "GET", "/v1/rooms/lobby/events", nil)
		for range n {
			h.api.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	follower, following := connect()
	ask(t, follower, 1, "/v1/rooms/lobby/events", "accept", "text/event-stream")
	h.await("tidemark_connections{transport=\"sse\"} 1")
	other, idle := connect()
	for range 3 { // 2,000 and the rate; 1,000 on one connection
		_, attacker := connect()
		reset(attacker, 900)
	}
	reset(following, 1)
	reset(idle, 1)
	for _, err := other.ReadFrame(); ; _, err = other.ReadFrame() {
		if err, ok := errors.AsType[net.Error](err); ok && err.Timeout() {
			t.Fatal("the connection without a stream remains")
		}
		if err != nil {
			break
		}
	}
	ask(t, follower, 3, "/livez")
	if got := statuses(t, follower, 2); got["200"] != 2 {
		t.Errorf("answers on the connection with a stream: %v", got)
	}
}
