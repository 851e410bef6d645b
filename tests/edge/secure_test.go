//go:build linux

package edge

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tidemark/tidemark/tests/internal/sse"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// Protocols that a client offers in its TLS handshake (ALPN, RFC 7301).
const (
	overHTTP1 = "http/1.1"
	overHTTP2 = "h2"
)

// serveTLS starts the program with a certificate.
func serveTLS(t testing.TB, args ...string) *server {
	t.Helper()
	authority := redistest.NewCertificates(t)
	cert, key := authority.Server(t, "node", "127.0.0.1")
	pem, err := os.ReadFile(authority.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}
	once := &http.Transport{DisableKeepAlives: true, TLSClientConfig: config.Clone()} // a transport modifies its own copy
	return &server{
		Server: tidemark.Serve(t, program.Options{}, append(args, "--tls-cert="+cert, "--tls-key="+key)...),
		t:      t,
		http:   &http.Client{Transport: once, Timeout: wait.Limit},
		tls:    config,
	}
}

// encrypt starts TLS on l and returns when the client's side of the handshake is done.
func (l *conn) encrypt(config *tls.Config, protocol string) (*tls.Conn, error) {
	config = config.Clone()
	config.NextProtos = []string{protocol}
	conn := tls.Client(l.TCPConn, config)
	if err := conn.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
		return nil, fmt.Errorf("the handshake ends with %q, want %q", got, protocol)
	}
	return conn, nil
}

// clientHello returns the bytes of a ClientHello.
func clientHello(t testing.TB, config *tls.Config) string {
	t.Helper()
	var heard recorder
	if err := tls.Client(&heard, config).Handshake(); err == nil || len(heard.said) < 100 {
		t.Fatalf("%d bytes of a handshake that ended with %v", len(heard.said), err)
	}
	return string(heard.said)
}

// A recorder keeps the bytes of the first write and answers nothing.
type recorder struct {
	net.Conn // nil: the handshake calls no other method
	said     []byte
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.said == nil {
		r.said = bytes.Clone(b)
	}
	return len(b), nil
}

func (*recorder) Read([]byte) (int, error) { return 0, io.EOF }

// heap returns the bytes in use after a garbage collection. The server needs --pprof-listen.
func (s *server) heap() int {
	s.t.Helper()
	for range 2 { // the second collection frees what pools keep
		res, err := s.http.Get("http://" + s.profiles() + "/debug/pprof/heap?gc=1")
		if err != nil {
			s.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	return int(s.metrics()["go_memstats_heap_alloc_bytes"])
}

// profiles returns the address at which the server serves profiles.
func (s *server) profiles() string {
	s.t.Helper()
	for line := range strings.Lines(s.Stderr.String()) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "profiles are served" {
			return entry.Address
		}
	}
	s.t.Fatal("no profiles are served")
	return ""
}

// awaitHeap waits until at most `most` bytes more than before are in use.
func (s *server) awaitHeap(before, most int) {
	s.t.Helper()
	var now int
	if !wait.For(func() bool { now = s.heap(); return now <= before+most }) {
		s.t.Errorf("%d bytes of memory are in use, %d were before: more than %d are left", now, before, most)
		return
	}
	s.t.Logf("%d KiB of memory are in use, %d KiB were before", now>>10, before>>10)
}

// A tlsFollower follows a room over HTTP/1.1 or HTTP/2, on its own connection.
type tlsFollower struct {
	s      *server
	room   string
	client *http.Client
	body   io.ReadCloser
	blocks *sse.Reader
}

// newTLSFollower returns a follower whose stream is open.
func newTLSFollower(s *server, protocol, room string) (*tlsFollower, error) {
	transport := &http.Transport{TLSClientConfig: s.tls.Clone(), ForceAttemptHTTP2: protocol == overHTTP2}
	g := &tlsFollower{s: s, room: room, client: &http.Client{Transport: transport, Timeout: wait.Limit}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, s.URL()+"/v1/rooms/"+room+"/events", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := g.client.Do(r)
	if err != nil {
		return nil, err
	}
	g.body, g.blocks = res.Body, sse.NewReader(res.Body)
	if res.StatusCode != http.StatusOK || (res.ProtoMajor == 2) != (protocol == overHTTP2) {
		g.leave()
		return nil, fmt.Errorf("%s over %s, want %s", res.Status, res.Proto, protocol)
	}
	return g, nil
}

// awaitOwnEvent publishes an event and reads until it arrives.
func (g *tlsFollower) awaitOwnEvent() error {
	id, err := publishTo(g.client, g.s.URL(), g.room, "x", "")
	if err != nil {
		return err
	}
	for {
		block, err := g.blocks.Next()
		if err != nil {
			return fmt.Errorf("before event %s: %w", id, err)
		}
		if strings.Contains(block.ID, id) {
			return nil
		}
	}
}

func (g *tlsFollower) leave() {
	_ = g.body.Close()
	g.client.CloseIdleConnections()
}

// served connects, follows, publishes and receives the event, over each version of HTTP.
func (s *server) served() error {
	var all error
	for _, protocol := range []string{overHTTP1, overHTTP2} {
		g, err := newTLSFollower(s, protocol, "lobby")
		if err == nil {
			err = g.awaitOwnEvent()
			g.leave()
		}
		if err != nil {
			all = errors.Join(all, fmt.Errorf("%s: %w", protocol, err))
		}
	}
	return all
}

// preface returns the beginning of an HTTP/2 connection (RFC 9113, 3.4).
func preface(settings ...http2.Setting) string {
	return http2.ClientPreface + frames(func(f *http2.Framer) error { return f.WriteSettings(settings...) })
}

// frames returns the frames that write writes.
func frames(write func(*http2.Framer) error) string {
	var text bytes.Buffer
	if err := write(http2.NewFramer(&text, nil)); err != nil {
		panic(err) // a mistake in the test
	}
	return text.String()
}

// headers returns the frame that asks for an event stream, or begins a publish, on a stream.
// It does not depend on earlier frames.
func headers(stream uint32, method, path string) string {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "tidemark"}, {":path", path}, {"accept", "text/event-stream"}} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1], Sensitive: true}) // keeps it out of the index
	}
	return frames(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: method == http.MethodGet})
	})
}

// follows returns the frame that asks for an event stream.
func follows(stream uint32) string { return headers(stream, http.MethodGet, "/v1/rooms/lobby/events") }

// cancels returns the frame that cancels a stream.
func cancels(stream uint32) string {
	return frames(func(f *http2.Framer) error { return f.WriteRSTStream(stream, http2.ErrCodeCancel) })
}

// asks returns a ping, which the server answers.
func asks() string {
	return frames(func(f *http2.Framer) error { return f.WritePing(false, [8]byte{1}) })
}

// A goAway is the error code of the server's GOAWAY frame.
type goAway http2.ErrCode

func (g goAway) Error() string { return "GOAWAY: " + http2.ErrCode(g).String() }

// awaitPong reads frames until the answer to a ping or a GOAWAY.
func awaitPong(in io.Reader) error {
	framer := http2.NewFramer(io.Discard, in)
	for {
		f, err := framer.ReadFrame()
		switch f := f.(type) {
		case *http2.PingFrame:
			if f.IsAck() {
				return nil
			}
		case *http2.GoAwayFrame:
			return goAway(f.ErrCode)
		}
		if err != nil {
			return err
		}
	}
}
