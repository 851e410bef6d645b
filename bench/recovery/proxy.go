package recovery

import (
	"io"
	"net"
	"sync"
)

// A proxy forwards TCP connections to one node at a time. It stands for the network
// between the clients and the nodes.
type proxy struct {
	addr string // address that clients connect to; fixed

	mu       sync.Mutex // guards the fields below
	resumed  sync.Cond  // signals that stalled has become false; uses mu
	target   string     // address of the node
	listener net.Listener
	conns    map[net.Conn]bool // both sides of every connection
	stalled  bool              // nothing is read from the node
	accepts  sync.WaitGroup
}

// newProxy listens on a free loopback port and forwards to target.
func newProxy(target string) (*proxy, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{addr: l.Addr().String(), conns: make(map[net.Conn]bool)}
	p.resumed.L = &p.mu
	p.serve(l, target)
	return p, nil
}

func (p *proxy) serve(l net.Listener, target string) {
	p.mu.Lock()
	p.listener, p.target = l, target
	p.mu.Unlock()
	p.accepts.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return // cut has closed the listener
			}
			go p.forward(c)
		}
	})
}

// restore accepts connections again after a cut and forwards them to target.
func (p *proxy) restore(target string) error {
	l, err := net.Listen("tcp4", p.addr)
	if err != nil {
		return err
	}
	p.serve(l, target)
	return nil
}

// cut closes all connections. New ones are refused until restore.
func (p *proxy) cut() {
	p.mu.Lock()
	p.listener.Close()
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.accepts.Wait()
}

// stall stops or resumes reading from the node, on all connections.
func (p *proxy) stall(stalled bool) {
	p.mu.Lock()
	p.stalled = stalled
	p.mu.Unlock()
	p.resumed.Broadcast()
}

// close ends the proxy.
func (p *proxy) close() {
	p.stall(false)
	p.cut()
}

// forward copies both directions of a connection until one side closes.
func (p *proxy) forward(client net.Conn) {
	defer client.Close()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	node, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer node.Close()
	_ = node.(*net.TCPConn).SetReadBuffer(64 << 10) // a stalled connection must fill up soon
	p.track(client, node)
	defer p.forget(client, node)
	go func() {
		_, _ = io.Copy(node, client)
		node.Close()
	}()
	for buffer := make([]byte, 32<<10); ; {
		p.waitUntilResumed()
		n, err := node.Read(buffer)
		if _, failed := client.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (p *proxy) waitUntilResumed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.stalled {
		p.resumed.Wait()
	}
}

func (p *proxy) track(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		p.conns[c] = true
	}
}

func (p *proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
