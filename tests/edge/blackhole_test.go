//go:build linux

package edge

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// goneWithin is what docs/protocol.md says of clients that fall silent.
	goneWithin = 105 * time.Second
	// slack is what looking at it takes, on a machine that does other things.
	slack = 12 * time.Second
	// stall is how long a client that is there may take nothing, scenario 19.
	stall = time.Minute
	// lookEvery is how often the server's connections are looked at.
	lookEvery = 200 * time.Millisecond
	// smallBuffer of a client is soon full, in bytes.
	smallBuffer = 4 << 10
)

// A peer is one connection of a client.
type peer struct {
	what string
	line *line
	gone time.Duration // after silence fell; 0 while it stands
}

// Clients vanish without a word, each home in a way of its own: its line is down,
// or the router drops what is sent to it, or what it sends. Whatever connection
// they had, the server has let go of it within the time in which a WebSocket
// misses its pings. A client that is there stays, however long it takes nothing.
func TestScenario35HalfOpenPeers(t *testing.T) {
	if !inside(t) {
		return
	}
	i := newInternet(t)
	s := serve(t, "--listen=0.0.0.0:8080", "--insecure", "--data", t.TempDir())
	before := s.awaitRest()

	here := i.newHome()
	awake := make(chan struct{})
	stays := []*follower{
		follow(t, &follower{over: overSSE, room: "busy", dial: here.dialer(0)}),
		follow(t, &follower{over: overWebSocket, room: "busy", dial: here.dialer(0)}),
		follow(t, &follower{over: overSSE, room: "busy", dial: here.dialer(smallBuffer), asleep: awake}),
		follow(t, &follower{over: overWebSocket, room: "busy", dial: here.dialer(smallBuffer), asleep: awake}),
	}
	down, deaf, dumb := i.newHome(), i.newHome(), i.newHome()
	peers := slices.Concat(settle(down, "its line is down"), settle(deaf, "nothing reaches it"), settle(dumb, "nothing comes from it"))
	for _, over := range transports() {
		f := follow(t, &follower{over: over, room: "busy", dial: here.dialer(smallBuffer), asleep: make(chan struct{})})
		peers = append(peers, &peer{what: fmt.Sprintf("it takes nothing: %v", over), line: f.line})
	}
	if standing := look(peers, s.connections(), 0); standing != len(peers) {
		t.Fatalf("%d of %d connections stand", standing, len(peers))
	}
	t.Logf("%d clients are about to vanish, %d stay: the server holds %+v", len(peers), len(stays), s.holdings())

	down.ip("link set home down")
	i.router.ip("route add blackhole " + deaf.address)
	i.router.ip("route add blackhole " + dumb.server)
	began := time.Now()
	var published []string
	probed := 0
	for standing := len(peers); standing > 0 && time.Since(began) < goneWithin+slack; time.Sleep(lookEvery) {
		published = append(published, publish(t, s, "busy", strings.Repeat("x", 2<<10)))
		connections := s.connections()
		standing = look(peers, connections, time.Since(began))
		for _, f := range stays {
			if connections[f.address()].probing {
				probed++
			}
		}
		if time.Since(began) > stall && awake != nil {
			close(awake)
			awake = nil
		}
	}
	for _, p := range peers {
		t.Logf("%s: gone after %v", p.what, p.gone.Round(time.Second))
		if p.gone == 0 {
			t.Errorf("%s: still there after %v", p.what, time.Since(began))
		}
	}
	for _, f := range stays {
		f.exactly(published)
		f.stayed()
	}
	if probed == 0 {
		t.Error("nobody's window was closed: the clients that stalled did not")
	}
	for _, f := range stays {
		f.leave()
	}
	s.awaitReturn(before)
}

// dialer returns a way to call the server from h.
func (h *home) dialer(receive int) func() (*line, error) {
	return func() (*line, error) { return h.dial(h.server+":8080", receive) }
}

// settle returns connections of every kind that a client may have.
func settle(h *home, why string) (peers []*peer) {
	h.t.Helper()
	call := h.dialer(0)
	add := func(what string, open func(l *line) error) {
		h.t.Helper()
		l, err := call()
		if err == nil {
			err = open(l)
		}
		if err != nil {
			h.t.Fatalf("%s: %v", what, err)
		}
		h.t.Cleanup(l.reset)
		peers = append(peers, &peer{what: why + ": " + what, line: l})
	}
	streams := func(path string) func(*line) error {
		return func(l *line) error {
			_, _, err := l.openStream(path)
			return err
		}
	}
	add("SSE, nothing to send", streams("/v1/rooms/quiet/events"))
	add("SSE, events to send", streams("/v1/rooms/busy/events"))
	add("SSE, several rooms", streams("/v1/events?room=quiet&room=busy"))
	add("WebSocket, no room", (*line).openSocket)
	for _, room := range []string{"quiet", "busy"} {
		add("WebSocket, "+room, func(l *line) error {
			if err := l.openSocket(); err != nil {
				return err
			}
			if err := l.say(`{"op":"subscribe","room":"` + room + `"}`); err != nil {
				return err
			}
			return l.hear(`"live"`)
		})
	}
	add("HTTP, between two requests", func(l *line) error {
		if err := l.send(request("GET", "/livez")); err != nil {
			return err
		}
		res, err := l.answer()
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("/livez: %s", res.Status)
		}
		return err
	})
	return peers
}

// look notes which peers the server has let go of, and returns how many stand.
func look(peers []*peer, connections map[string]connection, now time.Duration) (standing int) {
	for _, p := range peers {
		switch _, stands := connections[p.line.LocalAddr().String()]; {
		case p.gone > 0:
		case stands:
			standing++
		default:
			p.gone = now
		}
	}
	return standing
}
