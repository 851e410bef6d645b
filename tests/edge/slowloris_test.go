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
	// slowConns is the number of slow connections at the same time.
	slowConns = 300
	// sendEvery is the interval at which each of them sends something.
	sendEvery = 500 * time.Millisecond
	// The server's time-outs. Each differs clearly from the others and from its default.
	headerTime, bodyTime, idleTime = 2 * time.Second, 4 * time.Second, 8 * time.Second
	// prefaceTime and settingsTime are limits of net/http for the beginning of HTTP/2. After
	// goodbyeTime it closes a connection that has not read its GOAWAY.
	prefaceTime, settingsTime, goodbyeTime = 10 * time.Second, 2 * time.Second, time.Second
)

// A slowSend is a way to hold a connection while sending almost nothing.
type slowSend struct {
	name     string
	protocol string        // within TLS; "" for plain TCP
	opening  string        // sent at once
	again    string        // sent repeatedly; "" for nothing
	limit    time.Duration // the time within which the server ends it (docs/security.md); 0: the test does not wait for that
}

func allSlowSends(hello string) []slowSend {
	const record = "\x16\x03\x03\x10\x00" // the header of a record of 4,096 bytes
	get, publish := stream("/v1/rooms/lobby/events"), post("/v1/rooms/lobby/events", `{"data":1}`)
	begun := frames(func(f *http2.Framer) error {
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndStream: true})
	})
	more := frames(func(f *http2.Framer) error { return f.WriteContinuation(1, false, nil) })
	unread := preface(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for id := uint32(1); id < 200; id += 2 {
		unread += follows(id)
	}
	return []slowSend{
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

// A slowConn is one connection that is held in such a way.
type slowConn struct {
	slowSend
	*conn
	out   io.Writer // writes on the connection, through TLS or directly
	began time.Time
	gone  chan time.Duration // receives the connection's lifetime when it has ended
}

// Slow connections over TLS, in their handshake or after it, stop no other client from
// connecting, publishing and following. The server ends each within its time-out.
func TestSlowLorisOverTLS(t *testing.T) {
	s := serveTLS(t, "--data", t.TempDir(), "--header-timeout="+headerTime.String(), "--body-timeout="+bodyTime.String(), "--idle-timeout="+idleTime.String())
	must(t, s.served())
	before := s.awaitRest()
	stays, err := newTLSFollower(s, overHTTP2, "lobby")
	must(t, err)
	defer stays.leave()
	all := openSlowConns(t, s, allSlowSends(clientHello(t, s.tls)))

	quit := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() { keepSending(all, quit) })
	came, slowest := 0, time.Duration(0)
	for began := time.Now(); time.Since(began) < bodyTime+idleTime+goodbyeTime; came++ {
		called := time.Now()
		must(t, s.served())
		slowest = max(slowest, time.Since(called))
	}
	t.Logf("%d came meanwhile over each version of HTTP; the slowest two were served within %v", came, slowest)
	checkGone(t, all)
	close(quit)
	running.Wait()
	must(t, stays.awaitOwnEvent())
	stays.leave()
	for _, d := range all {
		d.reset()
	}
	s.awaitReturn(before)
}

// openSlowConns opens connections of all kinds. They end with the test.
func openSlowConns(t *testing.T, s *server, kinds []slowSend) []*slowConn {
	t.Helper()
	c := &caller{to: s.Addr}
	all := make([]*slowConn, slowConns)
	var watching sync.WaitGroup
	t.Cleanup(watching.Wait)
	for i := range all {
		d := &slowConn{slowSend: kinds[i%len(kinds)], gone: make(chan time.Duration, 1)}
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

// watch reads until the connection ends and notes when. A read that reaches the deadline is
// no end.
func (d *slowConn) watch() {
	if _, err := io.Copy(io.Discard, d.TCPConn); !errors.Is(err, os.ErrDeadlineExceeded) {
		d.gone <- time.Since(d.began)
	}
	close(d.gone)
}

// keepSending sends a little more on all connections, again and again.
func keepSending(all []*slowConn, quit <-chan struct{}) {
	tick := time.NewTicker(sendEvery)
	defer tick.Stop()
	for {
		select {
		case <-quit:
			return
		case <-tick.C:
		}
		for _, d := range all {
			if d.again != "" {
				_, _ = io.WriteString(d.out, d.again) // an error means the end, which watch notices
			}
		}
	}
}

// checkGone fails the test unless each connection ended within its limit.
func checkGone(t *testing.T, all []*slowConn) {
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
