package redislog

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy stands between a log and its Redis. It can drop all data and keep connections
// open, like a network that loses packets.
type proxy struct {
	// Fixed by newProxy.
	l      net.Listener
	target string
	wg     sync.WaitGroup // accept, and two goroutines for each connection

	swallowRequests atomic.Bool
	swallowReplies  atomic.Bool

	mu    sync.Mutex // guards conns
	conns []net.Conn
}

func newProxy(t testing.TB, target string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, target: target}
	p.wg.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) url() string { return "redis://" + p.l.Addr().String() }

func (p *proxy) blackHole(on bool) {
	p.swallowRequests.Store(on)
	p.swallowReplies.Store(on)
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func (p *proxy) close() {
	_ = p.l.Close()
	p.cut()
	p.wg.Wait()
}

func (p *proxy) accept() {
	for {
		client, err := p.l.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.wg.Go(func() { forward(server, client, &p.swallowRequests) })
		p.wg.Go(func() { forward(client, server, &p.swallowReplies) })
	}
}

// forward copies until either side closes, and then closes both.
func forward(to, from net.Conn, swallow *atomic.Bool) {
	defer to.Close()
	defer from.Close()
	_, _ = io.Copy(swallower{to, swallow}, from)
}

type swallower struct {
	to      io.Writer
	swallow *atomic.Bool
}

func (s swallower) Write(b []byte) (int, error) {
	if s.swallow.Load() {
		return len(b), nil
	}
	return s.to.Write(b)
}
