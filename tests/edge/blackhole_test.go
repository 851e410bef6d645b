//go:build linux

package edge

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const (
	// goneWithin is the time within which the server closes the connection of a silent
	// client (docs/protocol.md).
	goneWithin = 105 * time.Second
	// slack is the extra time that a busy machine needs to observe it.
	slack = 12 * time.Second
	// stall is how long a client may read nothing before it loses its connection (scenario
	// 19).
	stall = time.Minute
	// lookEvery is the interval at which the test reads the server's connections.
	lookEvery = 200 * time.Millisecond
	// smallBuffer is a client's receive buffer in bytes. It fills quickly.
	smallBuffer = 4 << 10
)

// A peer is one connection of a client.
type peer struct {
	what string
	at   string        // the client's address
	gone time.Duration // time since the network failed; 0 while the connection stands
}

// Clients vanish without closing their connections: the network of each fails in its own
// way. Its interface is down, or the router drops packets to it or from it. The server
// closes every such connection within the time in which a WebSocket misses its pings. A
// client that is only slow keeps its connection.
func TestScenario35HalfOpenPeers(t *testing.T) {
	if !inside(t) {
		return
	}
	i := newInternet(t)
	s := serve(t, "--listen=0.0.0.0:8080", "--insecure", "--h2c", "--data", t.TempDir())
	before := s.awaitRest()
	here := i.newClientNet("it takes nothing")
	down, deaf, dumb := i.newClientNet("its line is down"), i.newClientNet("nothing reaches it"), i.newClientNet("nothing comes from it")

	awake := make(chan struct{})
	var stays []*follower
	var peers []*peer
	for _, over := range transports() {
		stays = append(stays,
			followRoom(t, followOptions{over: over, room: "busy", dial: here.dialer(0)}),
			followRoom(t, followOptions{over: over, room: "busy", dial: here.dialer(smallBuffer), paused: awake}))
		dead := followRoom(t, followOptions{over: over, room: "busy", dial: here.dialer(smallBuffer), paused: make(chan struct{})})
		peers = append(peers, &peer{what: here.why + ": " + over.String(), at: dead.address()})
	}
	for _, h := range []*clientNet{down, deaf, dumb} {
		peers = append(peers, settle(h)...)
	}
	for _, h := range []*clientNet{down, deaf, dumb} {
		peers = append(peers, rest(h)) // last, so that its idle time-out ends after the limit
	}
	if standing := look(peers, s.connections(), 0); standing != len(peers) {
		t.Fatalf("%d of %d connections are open", standing, len(peers))
	}
	t.Logf("%d clients are about to vanish, %d stay: the server holds %+v", len(peers), len(stays), s.holdings())
	down.ip("link set home down")
	i.router.ip("route add blackhole " + deaf.address)
	i.router.ip("route add blackhole " + dumb.server)

	published := watch(t, s, peers, stays, awake)
	for _, p := range peers {
		t.Logf("%s: gone after %v", p.what, p.gone.Round(time.Second))
		if p.gone == 0 {
			t.Errorf("%s: still there", p.what)
		}
	}
	for _, f := range stays {
		f.exactly(published)
		f.stayed()
		f.Leave()
	}
	s.awaitReturn(before)
}

// watch publishes into the busy room and notes when the server closes each connection, until
// all peers are gone or the limit has passed. It wakes the stalled follower after a while.
// It returns the ids of the published events.
func watch(t *testing.T, s *server, peers []*peer, stays []*follower, awake chan<- struct{}) (published []string) {
	t.Helper()
	asleep, probed := true, false
	began := time.Now()
	for standing := len(peers); standing > 0 && time.Since(began) < goneWithin+slack; time.Sleep(lookEvery) {
		published = append(published, publish(t, s, "busy", strings.Repeat("x", 2<<10)))
		connections := s.connections()
		standing = look(peers, connections, time.Since(began))
		for _, f := range stays {
			probed = probed || connections[f.address()].probing
		}
		if asleep && time.Since(began) > stall {
			close(awake)
			asleep = false
		}
	}
	if !probed {
		t.Error("no client's window was closed: the stalled clients do not stall")
	}
	return published
}

// dialer returns a function that connects to the server from h.
func (h *clientNet) dialer(receive int) func() (*conn, error) {
	return func() (*conn, error) { return h.dial(h.server+":8080", receive) }
}

// settle opens following connections of every kind.
func settle(h *clientNet) (peers []*peer) {
	h.t.Helper()
	call := h.dialer(0)
	add := func(what string, open func(l *conn) error) {
		h.t.Helper()
		l, err := call()
		if err == nil {
			err = open(l)
		}
		if err != nil {
			h.t.Fatalf("%s: %v", what, err)
		}
		h.t.Cleanup(l.reset)
		peers = append(peers, &peer{what: h.why + ": " + what, at: l.LocalAddr().String()})
	}
	streams := func(path string) func(*conn) error {
		return func(l *conn) error {
			_, _, err := l.openStream(path)
			return err
		}
	}
	add("SSE, nothing to send", streams("/v1/rooms/quiet/events"))
	add("SSE, events to send", streams("/v1/rooms/busy/events"))
	add("SSE, several rooms", streams("/v1/events?room=quiet&room=busy"))
	for _, room := range []string{"quiet", "busy"} {
		add("SSE over HTTP/2, "+room, func(l *conn) error { return l.openShared("/v1/rooms/" + room + "/events") })
	}
	add("WebSocket, no room", func(l *conn) error { return l.openSocket() })
	for _, room := range []string{"quiet", "busy"} {
		add("WebSocket, "+room, func(l *conn) error {
			if err := l.openSocket(); err != nil {
				return err
			}
			if err := l.sendText(`{"op":"subscribe","room":"` + room + `"}`); err != nil {
				return err
			}
			return l.awaitText(`"live"`)
		})
	}
	return peers
}

// openShared asks for an event stream over HTTP/2 and goes on reading it.
func (l *conn) openShared(path string) error {
	transport := &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return l.TCPConn, nil },
		Protocols:   new(http.Protocols),
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	r, err := http.NewRequest(http.MethodGet, "http://tidemark"+path, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	go func() { _, _ = io.Copy(io.Discard, res.Body) }() // until the connection is reset
	return nil
}

// rest returns a connection between two requests.
func rest(h *clientNet) *peer {
	h.t.Helper()
	l, err := h.dialer(0)()
	must(h.t, err)
	h.t.Cleanup(l.reset)
	must(h.t, l.expect(request("GET", "/livez"), http.StatusOK))
	return &peer{what: h.why + ": HTTP, between two requests", at: l.LocalAddr().String()}
}

// look notes which peers the server has closed, and returns the number of the others.
func look(peers []*peer, connections map[string]connection, now time.Duration) (standing int) {
	for _, p := range peers {
		switch _, stands := connections[p.at]; {
		case p.gone > 0:
		case stands:
			standing++
		default:
			p.gone = now
		}
	}
	return standing
}
