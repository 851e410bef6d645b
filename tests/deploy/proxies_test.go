package deploy

import (
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/proxies"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A kind is a kind of proxy.
type kind struct {
	name  string
	start func(testing.TB, proxies.Options) *proxies.Proxy
	logs  bool // it logs requests
	// brief shortens the proxy's limit for silent connections from minutes to
	// silenceAllowed; nil for a proxy without one.
	brief map[string]string
}

// silenceAllowed is longer than the 15 s after which a node sends a keep-alive.
const silenceAllowed = "20s"

func kinds() []kind {
	nginx := map[string]string{
		"proxy_read_timeout 5m;": "proxy_read_timeout " + silenceAllowed + ";",
		"proxy_send_timeout 5m;": "proxy_send_timeout " + silenceAllowed + ";",
	}
	return []kind{
		{"nginx", proxies.Nginx, false, nginx},
		{"nginx-tls", proxies.NginxTLS, true, nginx},
		{"haproxy", proxies.HAProxy, true, map[string]string{
			"timeout client 5m": "timeout client " + silenceAllowed,
			"timeout server 5m": "timeout server " + silenceAllowed,
			"timeout tunnel 5m": "timeout tunnel " + silenceAllowed,
		}},
		{"caddy", proxies.Caddy, true, nil},
	}
}

// A front is a proxy before two nodes that require tokens.
type front struct {
	*proxies.Proxy
	nodes []*program.Server
	ca    string // file with the authority that clients must trust

	secret string // file with the secret that signs tokens
}

// raise starts Redis, two nodes and a proxy.
func raise(t *testing.T, k kind, o proxies.Options, flags ...string) *front {
	t.Helper()
	f := &front{secret: filepath.Join(t.TempDir(), "secret")}
	must(t, os.WriteFile(f.secret, []byte(strings.Repeat("s", 32)), 0o600))
	redis := redistest.StartProcess(t)
	for i := range 2 {
		f.nodes = append(f.nodes, f.node(t, redis, i, flags))
		o.Nodes = append(o.Nodes, f.nodes[i].Addr)
	}
	certs := redistest.NewCertificates(t)
	f.ca = certs.CA
	o.Cert, o.Key = certs.Server(t, "proxy", "127.0.0.1")
	f.Proxy = k.start(t, o)
	return f
}

func (f *front) node(t *testing.T, redis *redistest.Server, i int, flags []string) *program.Server {
	t.Helper()
	own := []string{"--redis", redis.URL(), "--node", fmt.Sprint("node", i+1), "--auth-secret-file", f.secret}
	return tidemark.Serve(t, program.Options{}, append(own, flags...)...)
}

func (f *front) client(t *testing.T) *client {
	return &client{t: t, front: f, token: mint(t, f.secret)}
}

// eachKind runs a test with each kind of proxy in parallel.
func eachKind(t *testing.T, test func(*testing.T, kind)) {
	t.Parallel()
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k)
		})
	}
}

// Events published through the proxy reach followers behind it at once, over SSE (over
// HTTP/2 with TLS) and WebSocket.
func TestProxyPassesEvents(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		f := raise(t, k, proxies.Options{})
		c := f.client(t)
		stream, socket := c.stream("chat:1", "earliest", nil), c.socket("chat:1", "earliest")
		for i := range 5 { // waits for each event: with a proxy that buffers, it would hang here
			id := c.publish("chat:1", fmt.Sprint(i))
			stream.expect(id)
			socket.expect(id)
		}
	})
}

// The proxy logs no token from a URL, a subprotocol or a header, whether the request
// succeeds or no node answers.
func TestProxyKeepsTokens(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		f := raise(t, k, proxies.Options{})
		c := f.client(t)
		c.stream("chat:1", "earliest", nil).await(follow.Live)
		c.socket("chat:1", "earliest").await(follow.Live)
		c.publish("chat:1", "1")
		c.get("/v1/rooms/chat:1/events", nil)
		for _, n := range f.nodes {
			n.Kill()
		}
		if res := c.get("/v1/rooms/chat:1/events", nil); res.StatusCode < 500 {
			t.Errorf("without nodes: %s", res.Status)
		}
		f.Stop() // proxies may log a connection when it ends
		logs := f.Logs()
		for line := range strings.Lines(logs) {
			if strings.Contains(line, c.token) || strings.Contains(line, "access_token=") {
				t.Errorf("its log contains the token: %s", line)
			}
		}
		if k.logs && !strings.Contains(logs, "/v1/rooms/chat:1/events") {
			t.Errorf("the proxy logs no requests: the test proves nothing:\n%s", logs)
		}
	})
}

// The proxy reloads its settings, then a node leaves: followers resume and receive each
// event once and in order.
func TestProxyReloadAndLeavingNode(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		f := raise(t, k, proxies.Options{})
		c := f.client(t)
		tails := make([]tail, 4)
		for i := range tails {
			tails[i] = c.tail("chat:1", "earliest")
		}
		socket := c.socket("chat:1", "earliest")
		var want []string
		publish := func() {
			t.Helper()
			for range 10 {
				want = append(want, c.publish("chat:1", `"x"`))
			}
		}
		publish()
		for _, id := range want {
			socket.expect(id)
		}
		for _, step := range []func(){f.Reload, func() { f.leave(t, f.busiest(t)) }} {
			step()
			publish()
			for i, tail := range tails {
				same(t, fmt.Sprint("tail ", i), want, tail.await(t, len(want)))
			}
		}
		back := 0
		for _, tail := range tails {
			back += tail.returns()
		}
		if back == 0 {
			t.Error("no client was cut: the test proves nothing")
		}
		// Resume over a WebSocket with the cursor of the connection that was cut.
		again := c.socket("chat:1", want[9])
		for _, id := range want[10:] {
			again.expect(id)
		}
	})
}

// busiest returns the node with the most streams. The other may have none, because the proxy
// may have considered it down for a moment.
func (f *front) busiest(t *testing.T) (busiest int) {
	t.Helper()
	var most float64
	for i, n := range f.nodes {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL()+"/metrics", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+mint(t, f.secret))
		res, err := http.DefaultClient.Do(req)
		must(t, err)
		text, err := io.ReadAll(res.Body)
		must(t, err)
		res.Body.Close()
		_, rest, found := strings.Cut(string(text), `tidemark_connections{transport="sse"} `)
		var streams float64
		if _, err := fmt.Sscan(rest, &streams); !found || err != nil {
			t.Fatalf("node %d does not say how many streams it has: %v", i+1, err)
		}
		if streams > most {
			busiest, most = i, streams
		}
	}
	return busiest
}

// leave ends a node with SIGTERM.
func (f *front) leave(t *testing.T, i int) {
	t.Helper()
	f.nodes[i].Signal(syscall.SIGTERM)
	if code := f.nodes[i].Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, f.nodes[i].Stderr)
	}
}

// same fails the test unless got is exactly want, in order.
func same(t *testing.T, who string, want, got []string) {
	t.Helper()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Errorf("%s: %v", who, d)
	}
}

// Silent connections outlive the proxy's limit for silence, because it forwards the nodes'
// keep-alives.
func TestProxyKeepsSilentConnections(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		f := raise(t, k, proxies.Options{Instead: maps.Clone(k.brief)})
		c := f.client(t)
		lines := []*feed{c.stream("chat:1", "now", nil), c.socket("chat:1", "now")}
		for _, l := range lines {
			l.await(follow.Live)
			for range 2 { // 30 s
				l.await(follow.Position)
			}
		}
		id := c.publish("chat:1", "1")
		for _, l := range lines {
			l.expect(id)
		}
	})
}

// The proxy passes the address of a client to the nodes. Each address has its own connection
// slots, and a client gets no more by naming another address.
func TestProxyTellsClientAddress(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		f := raise(t, k, proxies.Options{}, "--max-connections-per-address=1", "--trusted-proxy=127.0.0.1")
		f.leave(t, 1) // each node counts its own slots
		for _, from := range []net.IP{{127, 0, 0, 2}, {127, 0, 0, 3}} {
			c := f.client(t)
			c.from = from
			c.stream("chat:1", "now", nil).await(follow.Live)
			for _, lie := range []http.Header{nil, {"X-Forwarded-For": {"192.0.2.66"}}, {"Forwarded": {"for=192.0.2.66"}}} {
				if b := c.stream("chat:1", "now", lie).await(follow.Error); !strings.Contains(b.Code, "too-many-connections") {
					t.Errorf("%+v, from %v with %v: want too-many-connections", b, from, lie)
				}
			}
		}
	})
}
