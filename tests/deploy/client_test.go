package deploy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
	"github.com/tidemark/tidemark/tests/program"
)

// A client connects to a proxy with a token. With TLS it uses HTTP/2.
type client struct {
	t     *testing.T
	front *front
	token string
	from  net.IP // local address; nil for any
}

func (c *client) tls() *tls.Config {
	if !c.front.TLS() {
		return nil
	}
	authority, err := os.ReadFile(c.front.ca)
	must(c.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	return &tls.Config{RootCAs: pool}
}

func (c *client) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: wait.Limit}
	if c.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.from}
	}
	return d
}

// get sends a request with the token in its URL, as EventSource does. The body is closed
// with the test.
func (c *client) get(path string, header http.Header) *http.Response {
	c.t.Helper()
	transport := &http.Transport{TLSClientConfig: c.tls(), DialContext: c.dialer().DialContext, ForceAttemptHTTP2: true}
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.front.URL()+path, nil)
	must(c.t, err)
	query := r.URL.Query()
	query.Set("access_token", c.token)
	r.URL.RawQuery = query.Encode()
	for name, values := range header {
		r.Header[name] = values
	}
	res, err := transport.RoundTrip(r)
	must(c.t, err)
	c.t.Cleanup(func() {
		cancel()
		res.Body.Close()
		transport.CloseIdleConnections()
	})
	return res
}

// publish publishes an event with the program itself, and returns its id.
func (c *client) publish(room, data string) string {
	c.t.Helper()
	return strings.TrimSpace(tidemark.Must(c.t, c.environment(), "publish", room, data))
}

// environment is the environment of the program as a client.
func (c *client) environment() program.Options {
	return program.Options{Env: []string{"TIDEMARK_URL=" + c.front.URL(), "TIDEMARK_TOKEN=" + c.token, "SSL_CERT_FILE=" + c.front.ca}}
}

// A feed brings the messages of one connection.
type feed struct {
	t        *testing.T
	messages chan follow.Message // closed when the connection ends
}

// newFeed reads a stream until its connection ends.
func newFeed(t *testing.T, stream follow.Stream) *feed {
	f := &feed{t: t, messages: make(chan follow.Message, 1000)}
	go func() {
		defer close(f.messages)
		for {
			m, err := stream.Next()
			if err != nil {
				return
			}
			f.messages <- m
		}
	}()
	return f
}

// stream follows a room over SSE, on one connection.
func (c *client) stream(room, since string, header http.Header) *feed {
	c.t.Helper()
	all := http.Header{"Accept": {"text/event-stream"}}
	maps.Copy(all, header)
	res := c.get("/v1/rooms/"+url.PathEscape(room)+"/events?since="+since, all)
	stream, err := follow.FromResponse(res, room)
	must(c.t, err)
	if c.front.TLS() && res.ProtoMajor != 2 {
		c.t.Errorf("the stream came over %s, want HTTP/2", res.Proto)
	}
	return newFeed(c.t, stream)
}

// socket follows a room over a WebSocket, on one connection, with the token as a
// subprotocol, as browsers do.
func (c *client) socket(room, since string) *feed {
	c.t.Helper()
	conn, err := ws.Dial(c.front.URL(), ws.Options{Token: c.token, TLS: c.tls(), Dial: c.dialer().DialContext})
	must(c.t, err)
	c.t.Cleanup(func() { conn.Close() })
	must(c.t, conn.Subscribe(room, since))
	return newFeed(c.t, follow.FromWebSocket(conn))
}

// await returns the next message of a kind, and skips those of other kinds. A gap notice
// or an error in between fails the test.
func (f *feed) await(kind string) follow.Message {
	f.t.Helper()
	limit := time.After(wait.Limit)
	for {
		select {
		case m, open := <-f.messages:
			switch {
			case !open:
				f.t.Fatalf("the connection ended, want %q", kind)
			case m.Kind == kind:
				return m
			case m.Kind == follow.Gap || m.Kind == follow.Error:
				f.t.Fatalf("%+v, want %q", m, kind)
			}
		case <-limit:
			f.t.Fatalf("still waiting for %q", kind)
		}
	}
}

// expect waits for an event and compares its id.
func (f *feed) expect(id string) {
	f.t.Helper()
	if m := f.await(follow.Event); m.ID != id {
		f.t.Errorf("event %s, want %s", m.ID, id)
	}
}

// A tail is the program's own follower of a room, which resumes by itself.
type tail struct{ *program.Process }

func (c *client) tail(room, since string) tail {
	c.t.Helper()
	return tail{tidemark.Start(c.t, c.environment(), "tail", room, "--since", since, "--json")}
}

// await waits for n events and returns the ids of all events. A gap notice has the id "".
func (f tail) await(t *testing.T, n int) []string {
	t.Helper()
	var ids []string
	for _, line := range f.Stdout.AwaitLines(t, n) {
		var e struct{ ID string }
		must(t, json.Unmarshal([]byte(line), &e))
		ids = append(ids, e.ID)
	}
	return ids
}

// returns is the number of times that a tail has resumed.
func (f tail) returns() int { return strings.Count(f.Stderr.String(), "back, on node") }

// mint returns a token for all operations in rooms that begin with chat:.
func mint(t *testing.T, secret string) string {
	t.Helper()
	return strings.TrimSpace(tidemark.Must(t, program.Options{}, "token", "--auth-secret-file", secret,
		"--sub", "ann", "--subscribe", "chat:*", "--publish", "chat:*", "--admin"))
}
