// Package peers bounds what the peers of TCP connections can cost a node before a request
// is handled: open connections, streams without a credential, and requests that are reset.
package peers

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tidemark/tidemark/limits"
)

const (
	// A connection limit counts streams and WebSockets. Each has a connection, and a
	// client may have idle ones beside them: socketsPerSlot times the limit are accepted,
	// and at least minSockets.
	socketsPerSlot = 4
	minSockets     = 64

	// connResetRate is how many requests per second, and connResetBurst how many at once, a
	// client may give up before the answer on one connection. A browser gives up a few
	// dozen when its user leaves a page. Attacks reset thousands (CVE-2023-44487).
	connResetRate  = 100
	connResetBurst = 1000
	// resetRate and resetBurst limit all connections of an address together. Its users may
	// be strangers to each other, behind one NAT.
	resetRate  = 200
	resetBurst = 2000
	// slowTime is how long an address beyond resetRate is slowed: the node then accepts
	// acceptRate connections per second, and acceptRate at once.
	slowTime   = 10 * time.Second
	acceptRate = 10

	// maxAddresses bounds the addresses that are remembered without a connection, for
	// their resets.
	maxAddresses = 10_000
	// sweepSteps bounds the work of forgetting one.
	sweepSteps = 16
)

// Options are the limits of a Guard.
type Options struct {
	MaxConnections           int // streams and WebSockets of the node; 0 for no limit
	MaxConnectionsPerAddress int // of an address; 0 for no limit

	// HeaderMemory bounds the memory, in bytes, of the connections without a complete
	// request header. The least bound is that of two headers of MaxHeader bytes.
	HeaderMemory int64
	MaxHeader    int

	// Trusted reports whether a peer is a proxy with many clients. No limit applies to it.
	Trusted func(netip.Addr) bool
}

// A Guard accepts connections within its limits.
type Guard struct {
	maxSockets, maxPerAddress int // 0 for no limit
	trusted                   func(netip.Addr) bool

	mu        sync.Mutex // guards the fields below, and those of addresses and Conns that say so
	sockets   int
	addresses map[netip.Prefix]*address
	without   int // addresses without a connection
	waiting   waitingRoom
}

// An address is a caller's network, as the limits count it. Guard.mu guards it.
type address struct {
	network netip.Prefix
	sockets int
	resets  *rate.Limiter // nil before the first reset
	slow    time.Time     // until when accepts applies
	accepts *rate.Limiter // nil before the first excess reset
}

// New returns a Guard.
func New(o Options) *Guard {
	return &Guard{
		waiting:    waitingRoom{limit: max(o.HeaderMemory, 2*headerCost(int64(o.MaxHeader)))},
		maxSockets: socketLimit(o.MaxConnections), maxPerAddress: socketLimit(o.MaxConnectionsPerAddress),
		trusted: o.Trusted, addresses: make(map[netip.Prefix]*address),
	}
}

// socketLimit returns the number of TCP connections that belongs to a connection limit.
func socketLimit(slots int) int {
	if slots == 0 {
		return 0
	}
	return max(socketsPerSlot*slots, minSockets)
}

// Listen returns a listener that closes the connections of l beyond the limits. Connections
// over Unix sockets and from trusted proxies are accepted as they are.
func (g *Guard) Listen(l net.Listener) net.Listener { return &listener{l, g} }

type listener struct {
	net.Listener
	guard *Guard
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		peer := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap().WithZone("")
		if l.guard.trusted(peer) {
			return c, nil
		}
		if guarded := l.guard.admit(tcp, peer); guarded != nil {
			l.guard.wait(guarded, 0)
			return guarded, nil
		}
		_ = tcp.SetLinger(0) // keeps no state for a refused client
		_ = tcp.Close()
	}
}

// admit counts a connection, and returns nil if it must be refused.
func (g *Guard) admit(tcp *net.TCPConn, peer netip.Addr) *Conn {
	network := limits.NetworkOf(peer)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.maxSockets > 0 && g.sockets >= g.maxSockets {
		return nil
	}
	a := g.addresses[network]
	switch {
	case a == nil:
		a = g.addLocked(network)
	case g.maxPerAddress > 0 && a.sockets >= g.maxPerAddress, a.slow.After(time.Now()) && !a.accepts.Allow():
		return nil
	}
	c := &Conn{TCPConn: tcp, guard: g, address: a}
	if a.sockets == 0 {
		g.without--
	}
	a.sockets++
	g.sockets++
	return c
}

func (g *Guard) addLocked(network netip.Prefix) *address {
	a := &address{network: network}
	g.addresses[network] = a
	g.without++
	return a
}

// release forgets a connection that is closed.
func (g *Guard) release(c *Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if c.released {
		return
	}
	c.released = true
	g.waiting.removeLocked(c)
	a := c.address
	a.sockets--
	g.sockets--
	if a.sockets > 0 {
		return
	}
	g.without++
	if !g.forgetLocked(a, false) {
		g.sweepLocked()
	}
}

// sweepLocked keeps the number of addresses without a connection in its bound. It forgets
// one, if possible one whose resets no longer matter.
func (g *Guard) sweepLocked() {
	if g.without <= maxAddresses {
		return
	}
	var victim *address
	steps := 0
	for _, a := range g.addresses { // in random order
		if a.sockets == 0 {
			victim = a
			if g.forgetLocked(a, false) {
				return
			}
		}
		if steps++; steps >= sweepSteps && victim != nil {
			break
		}
	}
	g.forgetLocked(victim, true)
}

// forgetLocked forgets an address without a connection, if its resets no longer matter or
// force is set.
func (g *Guard) forgetLocked(a *address, force bool) bool {
	matters := a.resets != nil && (a.resets.Tokens() < resetBurst || a.slow.After(time.Now()))
	if matters && !force {
		return false
	}
	delete(g.addresses, a.network)
	g.without--
	return true
}

// reset counts a request that the client of c has reset. It reports whether c must be closed.
func (g *Guard) reset(c *Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	network := c.address.network
	a := g.addresses[network]
	if a == nil { // c is closed, and was the last connection
		a = g.addLocked(network)
		defer g.sweepLocked()
	}
	if a.resets == nil {
		a.resets = rate.NewLimiter(resetRate, resetBurst)
	}
	if c.resets == nil {
		c.resets = rate.NewLimiter(connResetRate, connResetBurst)
	}
	alone, together := !c.resets.Allow(), !a.resets.Allow()
	if together {
		a.slow = time.Now().Add(slowTime)
		if a.accepts == nil {
			a.accepts = rate.NewLimiter(acceptRate, acceptRate)
		}
	}
	return alone || together && c.Stranger() && c.streams.Load() == 0
}
