// Package cutproxy is a TCP proxy that a test can cut at a moment of its choice. To the
// connections it looks like a broken network, a restarted load balancer or a closed laptop.
//
// Promised: after Cut, no byte passes on the cut connections in either direction. After
// Close, no goroutine or socket of the proxy is left.
//
// Not promised: that bytes sent shortly before a cut arrive. Real networks do not promise it
// either.
package cutproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

const (
	// bufferSize is the maximum of one read: many events.
	bufferSize = 32 << 10

	// dialWait bounds the connection to the target. The target is on the same machine, and a
	// node that restarts refuses at once.
	dialWait = 5 * time.Second

	// maxMarker bounds the part of a marker that may have arrived in an earlier read.
	maxMarker = 256
)

// A Proxy forwards connections to a target until it is told to cut them.
type Proxy struct {
	// Fixed by New.
	listener *net.TCPListener
	wg       sync.WaitGroup // the accept loop, and one goroutine per connection

	mu       sync.Mutex // guards the fields below
	target   string
	links    map[*link]bool
	accepted int
	refuse   bool
	closed   bool
	trap     *trap // set by CutAfter
}

// A link is a client's connection and its connection to the target.
type link struct {
	client, server *net.TCPConn
	done           chan struct{} // closed when no more bytes pass
}

// A trap is one call of CutAfter.
type trap struct {
	marker  []byte
	cutDone chan struct{} // closed once it has cut
}

// Listen starts a proxy to target, host:port. It ends with the test.
func Listen(t testing.TB, target string) *Proxy {
	t.Helper()
	p, err := New(target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// New starts a proxy to target, host:port, on a free port of the loopback
// interface. Close it when done.
func New(target string) (*Proxy, error) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{listener: l, target: target, links: make(map[*link]bool)}
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the proxy's address, host:port. It never changes.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL returns Addr as a URL: "http://host:port".
func (p *Proxy) URL() string { return "http://" + p.Addr() }

// Cut resets all connections on both sides, and returns their number.
func (p *Proxy) Cut() int {
	p.mu.Lock()
	var cut []*link
	for l := range p.links {
		cut = append(cut, l)
	}
	p.mu.Unlock()

	for _, l := range cut {
		l.reset()
		<-l.done
	}
	return len(cut)
}

// CutAfter sets a trap: the first connection that sends marker to the client is reset right
// after the marker's last byte. Then the channel is closed. A second call replaces the first
// trap.
func (p *Proxy) CutAfter(marker string) (cutDone <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.trap = &trap{marker: []byte(marker), cutDone: make(chan struct{})}
	return p.trap.cutDone
}

// Refuse makes the proxy reset new connections at once, or accept them again. Existing
// connections are not affected.
func (p *Proxy) Refuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Retarget forwards new connections to another target. Existing connections are not
// affected.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Accepted returns the number of forwarded connections so far, without refused ones.
func (p *Proxy) Accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.accepted
}

// Open returns the number of open connections.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Close cuts all connections, stops listening, and waits. Closing again does nothing.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close() // ends the accept loop
	p.Cut()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client left before it was accepted
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// serve forwards one connection until either side ends it.
func (p *Proxy) serve(client *net.TCPConn) {
	target, ok := p.admit()
	if !ok {
		reset(client)
		return
	}
	c, err := net.DialTimeout("tcp", target, dialWait)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client: client, server: c.(*net.TCPConn), done: make(chan struct{})}
	defer close(l.done)
	if !p.add(l) {
		l.reset()
		return
	}
	defer p.remove(l)

	var up sync.WaitGroup
	up.Go(func() { l.copy(l.server, l.client, nil) })
	l.copy(l.client, l.server, p.spring)
	up.Wait()
	_ = l.client.Close()
	_ = l.server.Close()
}

// admit returns the target of a new connection, and false if it is refused.
func (p *Proxy) admit() (target string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.target, !p.refuse && !p.closed
}

// add makes l known to Cut. It checks refuse again, because the proxy may have begun to
// refuse while it dialed the target.
func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse || p.closed {
		return false
	}
	p.accepted++
	p.links[l] = true
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// spring looks for the trap's marker in tail and data, which follow each other, and removes
// the trap. n is how much of data passes before the cut; the caller then calls cut.
func (p *Proxy) spring(tail, data []byte) (n int, cut func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.trap
	if t == nil {
		return len(data), nil
	}
	// A marker that passed before the trap was set must not hide a later one.
	tail = tail[max(0, len(tail)-len(t.marker)+1):]
	at := bytes.Index(append(tail[:len(tail):len(tail)], data...), t.marker)
	if at < 0 {
		return len(data), nil
	}
	end := at + len(t.marker) - len(tail)
	p.trap = nil
	return end, func() { close(t.cutDone) }
}

// copy forwards one direction until it ends. watch, if set, may end it earlier.
func (l *link) copy(to, from *net.TCPConn, watch func(tail, data []byte) (int, func())) {
	buf := make([]byte, bufferSize)
	var tail []byte // of the forwarded bytes: a marker may arrive in pieces
	for {
		n, err := from.Read(buf)
		var cut func()
		if watch != nil && n > 0 {
			data := buf[:n]
			n, cut = watch(tail, data)
			tail = append(tail, data[:n]...)
			tail = tail[max(0, len(tail)-maxMarker):]
		}
		if _, werr := to.Write(buf[:n]); werr != nil {
			l.reset()
			return
		}
		switch {
		case cut != nil:
			l.reset()
			cut()
			return
		case err != nil && errors.Is(err, io.EOF):
			_ = to.CloseWrite() // the other direction continues
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// reset ends both sides at once with RST.
func (l *link) reset() {
	reset(l.client)
	reset(l.server)
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0) // close sends RST
	_ = c.Close()
}
