package fault_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
)

// An attack is a way to hold a connection of a node while sending one byte a second.
type attack struct {
	name    string
	opening string // sent at once
	after   string // sent when the header of the answer has arrived; "" for nothing
	stalls  bool   // the client reads nothing

	// limit is the lifetime of such a connection (docs/protocol.md); 0 where the cut does
	// not wait for it.
	limit time.Duration
}

const (
	silentPeer = 105 * time.Second
	// slowSlack is the time until an unread stream has filled all buffers, and until the
	// test notices the end of a connection: the second byte after the end fails.
	slowSlack = 15 * time.Second
	// slowBuffer is the receive buffer, in bytes, of a client that reads nothing.
	slowBuffer = 2 << 10
)

// slowTimeouts returns a node's limits for headers and bodies: in the full run, its
// defaults.
func slowTimeouts() (header, body time.Duration) {
	return inCut(2*time.Second, 10*time.Second), inCut(4*time.Second, 30*time.Second)
}

func attacks() []attack {
	header, body := slowTimeouts()
	const upgrade = "GET /v1/ws HTTP/1.1\r\nHost: tidemark\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
	const longMessage = "\x81\xfe\xff\xff\x00\x00\x00\x00" // a text frame of 65,535 bytes with a zero mask
	const batch = "POST /v1/events HTTP/1.1\r\nHost: tidemark\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n"
	waited := inCut(0, silentPeer)
	const follow = "GET /v1/rooms/room-0/events HTTP/1.1\r\nHost: tidemark\r\n"
	return []attack{
		{name: "a header that does not end", opening: follow + "X-Slow: ", limit: header},
		{name: "an upgrade that does not end", opening: upgrade + "X-Slow: ", limit: header},
		{name: "a body that does not end", opening: batch + `{"events":[{"room":"room-0","data":"`, limit: body},
		{name: "a stream that is not read", opening: follow + "Accept: text/event-stream\r\n\r\n", stalls: true, limit: waited},
		{name: "a WebSocket message that does not end", opening: upgrade + "\r\n", after: longMessage, limit: waited},
	}
}

// A slowConn is one connection that is held by an attack.
type slowConn struct {
	*net.TCPConn
	attack
	began time.Time
	gone  time.Duration // its lifetime; 0 while it stands
}

// Thousands of slow connections stop no client from connecting, publishing and following.
// The node ends each when its limit has passed.
func TestSlowLoris(t *testing.T) {
	t.Parallel()
	sockets := 500
	if thorough() {
		sockets = 5000
	}
	p := plan{nodes: 1, rooms: 4}
	if !thorough() {
		header, body := slowTimeouts()
		p.flags = []string{"--header-timeout=" + header.String(), "--body-timeout=" + body.String()}
	}
	w := newSystem(t, "slow-loris", newStandalone(t, "always"), p)
	n := w.nodes[0]
	w.startClients(few)
	end := w.begin(w.publishers(200))
	w.awaitLive()
	connects := w.counts.connects.Load()

	all := w.openSlowConns(n, sockets)
	ctx, stop := context.WithCancel(context.Background())
	var sending sync.WaitGroup
	sending.Go(func() { keepSending(ctx, all) })
	arrived, slowest := w.arrive(n, longestLimit()+slowSlack)
	stop()
	sending.Wait()
	t.Logf("%d clients came meanwhile, the slowest was live after %v", arrived, slowest)
	w.checkNoReconnects(connects + int64(arrived))
	if n := w.counts.repeats.Load(); n > 0 {
		t.Errorf("%d publishes had to be repeated", n)
	}
	w.checkGone(all)
	for _, l := range all {
		l.Close() // those that the cut does not wait for
	}
	end()
	w.checkLeaks()
	w.conclude()
}

func longestLimit() (longest time.Duration) {
	for _, m := range attacks() {
		longest = max(longest, m.limit)
	}
	return longest
}

// openSlowConns opens count connections of all kinds of attack.
func (w *system) openSlowConns(n *node, count int) []*slowConn {
	w.t.Helper()
	const atOnce = 32
	all, kinds := make([]*slowConn, count), attacks()
	var opening sync.WaitGroup
	for worker := range atOnce {
		opening.Go(func() {
			for i := worker; i < count; i += atOnce {
				l, err := openSlowConn(n.addr, kinds[i%len(kinds)], byte(1+i%atOnce))
				if err != nil {
					w.t.Errorf("%s: %v", kinds[i%len(kinds)].name, err)
					return
				}
				all[i] = l
			}
		})
	}
	opening.Wait()
	w.t.Cleanup(func() {
		for _, l := range all {
			if l != nil {
				l.Close()
			}
		}
	})
	if w.t.Failed() {
		w.t.FailNow()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range all {
		w.injected["slow-loris: "+l.name]++
	}
	return all
}

// openSlowConn opens one connection, from the given loopback address.
func openSlowConn(addr string, m attack, from byte) (*slowConn, error) {
	dialer := net.Dialer{Timeout: wait.Limit, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, from)}}
	conn, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	l := &slowConn{TCPConn: conn.(*net.TCPConn), attack: m, began: time.Now()}
	_ = l.SetLinger(0)
	if m.stalls {
		err = l.SetReadBuffer(slowBuffer)
	}
	if err == nil {
		_, err = l.Write([]byte(m.opening))
	}
	if err == nil && m.after != "" {
		_ = l.SetReadDeadline(time.Now().Add(wait.Limit))
		_, err = http.ReadResponse(bufio.NewReader(l), nil) // reads the header only
		if err == nil {
			_, err = l.Write([]byte(m.after))
		}
	}
	return l, err
}

// keepSending sends a byte a second on every standing connection until ctx ends.
func keepSending(ctx context.Context, all []*slowConn) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		for _, l := range all {
			if l.gone > 0 {
				continue
			}
			_ = l.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := l.Write([]byte("x")); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				l.gone = time.Since(l.began)
			}
		}
	}
}

// arrive starts clients one after the other. Each must be live before the next starts. It
// returns their number and the longest wait.
func (w *system) arrive(n *node, lasts time.Duration) (arrived int, slowest time.Duration) {
	w.t.Helper()
	const pause, stay = 500 * time.Millisecond, 10 * time.Second
	rooms := w.ordinary()
	for began := time.Now(); time.Since(began) < lasts; time.Sleep(pause) {
		called := time.Now()
		c := w.newClient(clientName("arrival", arrived%len(rooms), arrived), behavior{
			over: transport(arrived % 2), start: "since=now", at: n.addr, until: called.Add(stay),
		}, rooms[arrived%len(rooms)])
		wait.Until(w.t, c.name+" to be live", c.isLive)
		slowest = max(slowest, time.Since(called))
		arrived++
	}
	return arrived, slowest
}

// checkGone fails the test unless each connection ended within its limit.
func (w *system) checkGone(all []*slowConn) {
	w.t.Helper()
	var stand []string
	for _, m := range attacks() {
		if m.limit == 0 {
			continue
		}
		var last time.Duration
		for _, l := range all {
			if l.name != m.name {
				continue
			}
			if last = max(last, l.gone); l.gone == 0 {
				stand = append(stand, m.name)
			}
		}
		w.within(m.name, last, m.limit+slowSlack)
	}
	if len(stand) > 0 {
		w.t.Errorf("%d connections are still open: %s", len(stand), strings.Join(stand[:min(len(stand), 5)], ", "))
	}
}
