package peers

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func addr(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// newGuard returns a Guard that trusts no proxy.
func newGuard(node, perAddress int) *Guard {
	return New(Options{
		MaxConnections: node, MaxConnectionsPerAddress: perAddress,
		HeaderMemory: 1 << 40, Trusted: func(netip.Addr) bool { return false },
	})
}

// An address may have four times its limit of TCP connections, and at least 64.
func TestSocketsOfAnAddress(t *testing.T) {
	for limit, most := range map[int]int{2: 64, 100: 400} {
		g := newGuard(0, limit)
		var last *Conn
		for i := range most {
			if last = g.admit(new(net.TCPConn), addr(1)); last == nil {
				t.Fatalf("limit %d: connection %d is refused", limit, i)
			}
		}
		if g.admit(new(net.TCPConn), addr(1)) != nil {
			t.Errorf("limit %d: more than %d connections are accepted", limit, most)
		}
		if g.admit(new(net.TCPConn), addr(2)) == nil {
			t.Errorf("limit %d: another address is refused", limit)
		}
		_ = last.Close()
		_ = last.Close()
		if g.admit(new(net.TCPConn), addr(1)) == nil {
			t.Errorf("limit %d: a place that is free again is refused", limit)
		}
		if g.admit(new(net.TCPConn), addr(1)) != nil {
			t.Errorf("limit %d: closing twice frees two places", limit)
		}
	}
}

// All addresses together have the limit of the node.
func TestSocketsOfANode(t *testing.T) {
	g := newGuard(1, 0)
	conns := make([]*Conn, minSockets)
	for i := range conns {
		if conns[i] = g.admit(new(net.TCPConn), addr(i)); conns[i] == nil {
			t.Fatalf("connection %d is refused", i)
		}
	}
	if g.admit(new(net.TCPConn), addr(1000)) != nil {
		t.Errorf("more than %d connections are accepted", minSockets)
	}
	for _, c := range conns {
		_ = c.Close()
	}
	if g.sockets != 0 || g.without != 0 || len(g.addresses) != 0 {
		t.Errorf("after the last close: %d sockets, %d addresses, %d without a connection", g.sockets, len(g.addresses), g.without)
	}
}

// The end of a TCP connection, not only its acceptance, is counted for a real one. Trusted
// proxies are not limited.
func TestListen(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		g := New(Options{MaxConnectionsPerAddress: 1, HeaderMemory: 1 << 40, Trusted: func(netip.Addr) bool { return trusted }})
		guarded := g.Listen(l)
		for range minSockets {
			if _, ok := connect(t, guarded).(*Conn); ok == trusted {
				t.Fatalf("trusted: %v, guarded: %v", trusted, ok)
			}
		}
		refused, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if trusted {
			if _, err := guarded.Accept(); err != nil {
				t.Fatal(err)
			}
		} else {
			go guarded.Accept() // until l is closed
			_ = refused.SetReadDeadline(time.Now().Add(30 * time.Second))
			if _, err := refused.Read(make([]byte, 1)); err == nil || err.(net.Error).Timeout() {
				t.Errorf("a connection beyond the limit reads %v", err)
			}
		}
		refused.Close()
		l.Close()
	}
}

// connect returns the server's side of a new connection.
func connect(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// A connection that resets too many requests is closed, even with a credential. The other
// connections of its address are not.
func TestResetsOfAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(0, 0)
		steady, attacker, neighbour := g.admit(new(net.TCPConn), addr(1)), g.admit(new(net.TCPConn), addr(1)), g.admit(new(net.TCPConn), addr(1))
		for range 60 {
			for range connResetRate {
				steady.Reset()
			}
			time.Sleep(time.Second)
		}
		if steady.released {
			t.Fatal("the allowed rate ends a connection")
		}
		attacker.Identified()
		for range connResetBurst + 1 {
			attacker.Reset()
		}
		if !attacker.released {
			t.Error("a connection beyond its rate is open")
		}
		if neighbour.released || g.admit(new(net.TCPConn), addr(1)) == nil {
			t.Error("a neighbour is refused")
		}
	})
}

// Beyond the rate of an address, a stranger loses the connection on which it resets another
// request, and the address gets few new connections for a while. Connections that reset
// nothing, have shown a credential or have an open stream remain.
func TestResetsOfAnAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGuard(0, 0)
		admit := func() *Conn { return g.admit(new(net.TCPConn), addr(1)) }
		quiet, known, following := admit(), admit(), admit()
		known.Identified()
		following.BeginStream()
		for range resetBurst / connResetBurst { // it does not help to close the connection first
			c := admit()
			_ = c.Close()
			for range connResetBurst {
				c.Reset()
			}
		}
		stranger := admit()
		for _, c := range []*Conn{known, following, stranger} {
			c.Reset()
		}
		if !stranger.released {
			t.Error("a stranger beyond the rate of its address is connected")
		}
		if quiet.released || known.released || following.released {
			t.Errorf("disconnected: a quiet connection %v, one with a credential %v, one with a stream %v", quiet.released, known.released, following.released)
		}
		following.EndStream()
		if following.Reset(); !following.released {
			t.Error("a stream that has ended still counts")
		}
		for range acceptRate {
			if admit() == nil {
				t.Fatal("the address gets no new connections")
			}
		}
		if admit() != nil {
			t.Error("the address gets more new connections than it may have")
		}
		if g.admit(new(net.TCPConn), addr(2)) == nil {
			t.Error("another address is refused")
		}
		time.Sleep(slowTime)
		for range 2 * acceptRate {
			if admit() == nil {
				t.Fatal("the address is slowed for too long")
			}
		}
	})
}

// The addresses of closed connections do not fill the memory.
func TestForgottenAddresses(t *testing.T) {
	g := newGuard(0, 0)
	for i := range maxAddresses + 1000 {
		c := g.admit(new(net.TCPConn), addr(i))
		c.Reset()
		_ = c.Close()
		c.Reset()
	}
	if len(g.addresses) != maxAddresses || g.without != maxAddresses {
		t.Errorf("%d addresses, %d without a connection; want %d", len(g.addresses), g.without, maxAddresses)
	}
}

// Without a credential a connection may have few open requests.
func TestStrangers(t *testing.T) {
	c := newGuard(0, 0).admit(new(net.TCPConn), addr(1))
	for i := range maxStrangerStreams {
		if c.Begin(true) {
			t.Errorf("%d requests are too many", i+1)
		}
	}
	if !c.Begin(true) {
		t.Errorf("%d requests are not too many", maxStrangerStreams+1)
	}
	c.End()
	c.End()
	if c.Begin(true) {
		t.Error("requests that have ended count")
	}
	c.Identified()
	if c.Begin(true) {
		t.Error("a credential does not help")
	}
	var none *Conn // of a proxy
	if none.Begin(true) {
		t.Error("a proxy is limited")
	}
	none.End()
	none.Idle()
	none.BeginStream()
	none.EndStream()
	none.Reset()
	none.Identified()
}
