package deploy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/tests/program"
)

// A client speaks to a proxy, with a token. Where there is TLS it speaks HTTP/2.
type client struct {
	t     *testing.T
	front *front
	token string
	from  net.IP // the address to call from; nil for any
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
	d := &net.Dialer{Timeout: patience}
	if c.from != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.from}
	}
	return d
}

// get sends a request with the token in its address, as EventSource does. The body ends
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

// environment is that of a command of the program.
func (c *client) environment() program.Options {
	return program.Options{Env: []string{"TIDEMARK_URL=" + c.front.URL(), "TIDEMARK_TOKEN=" + c.token, "SSL_CERT_FILE=" + c.front.ca}}
}

// A block is one of an event stream, or what says the same over a WebSocket.
type block struct {
	name, id string // name is "" for a mere position
	data     string
}

// A line brings blocks, until its connection ends.
type line struct {
	t      *testing.T
	blocks chan block
}

// stream follows a room over SSE, on one connection.
func (c *client) stream(room, since string, header http.Header) *line {
	c.t.Helper()
	all := http.Header{"Accept": {"text/event-stream"}}
	maps.Copy(all, header)
	res := c.get("/v1/rooms/"+url.PathEscape(room)+"/events?since="+since, all)
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		c.t.Fatalf("%s: %s", res.Status, body)
	}
	if c.front.TLS() && res.ProtoMajor != 2 {
		c.t.Errorf("the stream came over %s, want HTTP/2", res.Proto)
	}
	l := &line{t: c.t, blocks: make(chan block, 1000)}
	go func() {
		defer close(l.blocks)
		readBlocks(res.Body, l.blocks)
	}()
	return l
}

func readBlocks(r io.Reader, to chan<- block) {
	lines := bufio.NewScanner(r)
	next := block{name: "message"}
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "event":
			next.name = value
		case "id":
			next.id = value
		case "data":
			next.data += value
		case "":
			if next.data == "" {
				next.name = ""
			}
			to <- next
			next = block{name: "message"}
		}
	}
}

// socket follows a room over a WebSocket, on one connection, with the token as a
// subprotocol, as browsers do.
func (c *client) socket(room, since string) *line {
	c.t.Helper()
	dialer := websocket.Dialer{
		Subprotocols: []string{"tidemark.v1", "tidemark.bearer." + c.token}, HandshakeTimeout: patience,
		TLSClientConfig: c.tls(), NetDialContext: c.dialer().DialContext,
	}
	conn, res, err := dialer.Dial("ws"+strings.TrimPrefix(c.front.URL(), "http")+"/v1/ws", nil)
	must(c.t, err)
	res.Body.Close()
	c.t.Cleanup(func() { conn.Close() })
	must(c.t, conn.WriteJSON(map[string]string{"op": "subscribe", "room": room, "since": since}))
	l := &line{t: c.t, blocks: make(chan block, 1000)}
	go func() {
		defer close(l.blocks)
		readFrames(conn, l.blocks)
	}()
	return l
}

func readFrames(conn *websocket.Conn, to chan<- block) {
	names := map[string]string{"event": "message", "position": "", "gap": "tidemark.gap", "error": "tidemark.error", "live": "tidemark.live", "subscribed": "tidemark.open"}
	for {
		var m struct {
			Op, ID, Cursor, Detail string
			Data                   json.RawMessage
		}
		if conn.ReadJSON(&m) != nil {
			return
		}
		to <- block{name: names[m.Op], id: m.ID + m.Cursor, data: string(m.Data) + m.Detail}
	}
}

// await returns the next block of that name, past those of other names.
func (l *line) await(name string) block {
	l.t.Helper()
	limit := time.After(patience)
	for {
		select {
		case b, open := <-l.blocks:
			switch {
			case !open:
				l.t.Fatalf("the connection ended, want %q", name)
			case b.name == name:
				return b
			case b.name == "tidemark.gap" || b.name == "tidemark.error":
				l.t.Fatalf("%v, want %q", b, name)
			}
		case <-limit:
			l.t.Fatalf("still waiting for %q", name)
		}
	}
}

// expect waits for an event and compares its id.
func (l *line) expect(id string) {
	l.t.Helper()
	if b := l.await("message"); b.id != id {
		l.t.Errorf("event %s, want %s", b.id, id)
	}
}

// A tail is the program's own follower of a room, which comes back by itself.
type tail struct{ *program.Process }

func (c *client) tail(room, since string) tail {
	c.t.Helper()
	return tail{tidemark.Start(c.t, c.environment(), "tail", room, "--since", since, "--json")}
}

// await waits for n events and returns the ids of all that came. A gap notice has none.
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

// returns counts how often a tail came back.
func (f tail) returns() int { return strings.Count(f.Stderr.String(), "back, on node") }

// mint makes a token for everything in rooms that begin with chat:.
func mint(t *testing.T, secret string) string {
	t.Helper()
	return strings.TrimSpace(tidemark.Must(t, program.Options{}, "token", "--auth-secret-file", secret,
		"--sub", "ann", "--subscribe", "chat:*", "--publish", "chat:*", "--admin"))
}

func (b block) String() string { return fmt.Sprintf("%s %s %s", b.name, b.id, b.data) }
