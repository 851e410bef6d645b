//go:build linux

package edge

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

const (
	// dribblers is how many connections say next to nothing at the same time.
	dribblers = 300
	// dribbleEvery is how often each of them says something.
	dribbleEvery = 500 * time.Millisecond
	// The server's time-outs: each of them far from the others, and from its default.
	headerTime, bodyTime, idleTime = 2 * time.Second, 4 * time.Second, 8 * time.Second
	// prefaceTime and settingsTime are net/http's for the beginning of HTTP/2, and
	// goodbyeTime is what it gives a client to take GOAWAY.
	prefaceTime, settingsTime, goodbyeTime = 10 * time.Second, 2 * time.Second, time.Second
)

// A dribble is a way to hold a connection by saying next to nothing on it, again and
// again.
type dribble struct {
	name     string
	protocol string        // within TLS; "" for what comes before
	opening  string        // is said at once
	again    string        // is said again and again; "" for nothing
	limit    time.Duration // docs/security.md says that it is gone by then; 0: the test does not wait for that
}

func allDribbles(hello string) []dribble {
	const record = "\x16\x03\x03\x10\x00" // the head of one that has 4,096 bytes
	get, publish := stream("/v1/rooms/lobby/events"), post("/v1/rooms/lobby/events", `{"data":1}`)
	begun := frames(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true})
	})
	more := frames(func(f *http2.Framer) error { return f.WriteContinuation(1, false, nil) })
	unread := preface(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for id := uint32(1); id < 200; id += 2 {
		unread += follows(id)
	}
	return []dribble{
		{name: "nothing at all", limit: headerTime},
		{name: "a ClientHello that does not end", opening: hello[:50], again: "x", limit: headerTime},
		{name: "a handshake that does not end", opening: hello + record, again: "x", limit: headerTime},
		{name: "no request", protocol: overHTTP1, limit: headerTime},
		{name: "a header that does not end", protocol: overHTTP1, opening: get[:len(get)-2] + "X-Slow: ", again: "x", limit: headerTime},
		{name: "a body that does not end", protocol: overHTTP1, opening: publish[:len(publish)-5], limit: bodyTime},
		{name: "HTTP/2, nothing said", protocol: overHTTP2, limit: prefaceTime},
		{name: "HTTP/2, no settings", protocol: overHTTP2, opening: http2.ClientPreface, limit: settingsTime},
		{name: "HTTP/2, no request", protocol: overHTTP2, opening: preface(), again: asks(), limit: idleTime + goodbyeTime},
		{name: "a HEADERS frame that does not end", protocol: overHTTP2, opening: preface() + follows(1)[:20], limit: idleTime + goodbyeTime},
		{name: "headers that do not end", protocol: overHTTP2, opening: preface() + begun[:4] + "\x01" + begun[5:], again: more, limit: idleTime + goodbyeTime},
		{name: "a publish over HTTP/2 without its body", protocol: overHTTP2, opening: preface() + headers(1, http.MethodPost, "/v1/rooms/lobby/events"), again: asks(), limit: bodyTime + idleTime + goodbyeTime},
		{name: "a hundred streams that are not read", protocol: overHTTP2, opening: unread},
	}
}

// A dribbler is one connection that is held so.
type dribbler struct {
	dribble
	*conn
	out   io.Writer // what is said on the line, within TLS or not
	began time.Time
	gone  chan time.Duration // gets when it ended; has nothing while it stands
}

// Connections over TLS on which next to nothing is said, in their handshake or behind it,
// keep nobody from connecting, publishing and following, and are gone in their time.
func TestSlowLorisOverTLS(t *testing.T) {
	s := serveTLS(t, "--data", t.TempDir(), "--header-timeout="+headerTime.String(), "--body-timeout="+bodyTime.String(), "--idle-timeout="+idleTime.String())
	must(t, s.served())
	before := s.awaitRest()
	stays, err := newGuest(s, overHTTP2, "lobby")
	must(t, err)
	defer stays.leave()
	all := besiege(t, s, allDribbles(clientHello(t, s.tls)))

	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { goOn(all, quit) })
	came, slowest := 0, time.Duration(0)
	for began := time.Now(); time.Since(began) < bodyTime+idleTime+goodbyeTime; came++ {
		called := time.Now()
		must(t, s.served())
		slowest = max(slowest, time.Since(called))
	}
	t.Logf("%d came meanwhile over each version of HTTP; the slowest two were served within %v", came, slowest)
	areGone(t, all)
	close(quit)
	running.Wait()
	must(t, stays.hears())
	stays.leave()
	for _, d := range all {
		d.reset()
	}
	s.awaitReturn(before)
}

// besiege opens connections of all kinds, each of which ends with the test.
func besiege(t *testing.T, s *server, kinds []dribble) []*dribbler {
	t.Helper()
	c := &caller{to: s.Addr}
	all := make([]*dribbler, dribblers)
	var watching sync.WaitGroup
	t.Cleanup(watching.Wait)
	for i := range all {
		d := &dribbler{dribble: kinds[i%len(kinds)], gone: make(chan time.Duration, 1)}
		var err error
		d.conn, err = c.dial()
		must(t, err)
		t.Cleanup(d.reset)
		d.began, d.out = time.Now(), d.conn
		if d.protocol != "" {
			d.out, err = d.encrypt(s.tls, d.protocol)
			must(t, err)
		}
		_, err = io.WriteString(d.out, d.opening)
		must(t, err)
		all[i] = d
		if d.limit > 0 {
			watching.Go(d.watch)
		}
	}
	return all
}

// watch reads until the connection ends, and notes when that is. One that stands for too
// long has not ended.
func (d *dribbler) watch() {
	if _, err := io.Copy(io.Discard, d.TCPConn); !errors.Is(err, os.ErrDeadlineExceeded) {
		d.gone <- time.Since(d.began)
	}
	close(d.gone)
}

// goOn has all say a little more, again and again.
func goOn(all []*dribbler, quit <-chan struct{}) {
	tick := time.NewTicker(dribbleEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for _, d := range all {
			if d.again != "" {
				_, _ = io.WriteString(d.out, d.again) // an error is the end, which watch sees
			}
		}
	}
}

// areGone fails the test unless each connection has ended within its time.
func areGone(t *testing.T, all []*dribbler) {
	t.Helper()
	last := make(map[string]time.Duration)
	for _, d := range all {
		if d.limit == 0 {
			continue
		}
		after, ok := <-d.gone
		if last[d.name] = max(last[d.name], after); !ok || after > d.limit+slack {
			t.Errorf("%s: gone after %v, %v; want %v", d.name, after, ok, d.limit)
		}
	}
	for name, after := range last {
		t.Logf("%s: gone after %v", name, after.Round(time.Millisecond))
	}
}
