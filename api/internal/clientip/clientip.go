// Package clientip finds the address of the client that sent a request, also behind
// trusted proxies.
//
// The headers of proxies are read by hand. echo's ExtractIPFromXFFHeader discards the
// whole header at the first address that has a port or cannot be parsed, does not know
// Unix sockets, and sets no limit on the number of proxies.
package clientip

import (
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	// maxHops bounds the number of proxies that a request may have passed.
	maxHops = 16
	// maxHop bounds the text that names one proxy, in bytes: an IPv6 address with
	// brackets and a port has 47.
	maxHop = 64
)

// Proxies are the networks of the trusted proxies, each as ParseProxy returns it.
type Proxies []netip.Prefix

// Client returns the address of the client that sent r, without a zone. IPv4 addresses are
// never in their IPv6 form. The zero Addr stands for a peer on a Unix socket.
//
// X-Forwarded-For and Forwarded (RFC 7239) count only if a trusted proxy sent the request.
// Each proxy appends the address that it received the request from. So Client reads from
// the right, up to the first address that is not a trusted proxy: a client may have written
// everything to the left of it. If a proxy names no readable address, Client returns the
// proxy's own address.
//
// A proxy sets one of the two headers and may pass the other through as the client wrote
// it. If both are present and disagree, Client ignores both.
func (p Proxies) Client(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !p.trust(peer) {
		return peer
	}
	xff, forwarded := r.Header["X-Forwarded-For"], r.Header["Forwarded"]
	if forwarded == nil {
		return p.walk(peer, xffHops(xff))
	}
	client := p.walk(peer, forwardedHops(forwarded))
	if xff != nil && p.walk(peer, xffHops(xff)) != client {
		return peer
	}
	return client
}

// Text returns the text for a client's address in logs: "unix" for a Unix socket.
func Text(addr netip.Addr) string {
	if !addr.IsValid() {
		return UnixSocket
	}
	return addr.String()
}

// peerOf returns the address at the other end of the connection; the zero Addr for a Unix
// socket.
func peerOf(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http sets it from the connection
	return ap.Addr().Unmap().WithZone("")
}

// Trusts reports whether addr, at the other end of a connection, is a trusted proxy.
func (p Proxies) Trusts(addr netip.Addr) bool { return p.trust(addr) }

// trust reports whether addr is the address of a trusted proxy.
func (p Proxies) trust(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(network netip.Prefix) bool {
		return network.Contains(addr) || network == (netip.Prefix{}) && addr == (netip.Addr{})
	})
}

// walk follows the hops, nearest first, from the trusted peer to the first address that is
// not trusted. It stops before a hop that it cannot read, and after maxHops.
func (p Proxies) walk(peer netip.Addr, hops iter.Seq[string]) netip.Addr {
	at, n := peer, 0
	for hop := range hops {
		addr, ok := parseHop(hop)
		if n++; !ok || n > maxHops {
			return at
		}
		if at = addr; !p.trust(at) {
			return at
		}
	}
	return at
}

// parseHop reads an address as proxies write it: with or without a port, IPv6 with or
// without brackets. An address with a zone is refused: the zone means something only on
// the proxy's machine.
func parseHop(text string) (netip.Addr, bool) {
	if len(text) > maxHop {
		return netip.Addr{}, false
	}
	ap, err := netip.ParseAddrPort(text)
	addr := ap.Addr()
	if err != nil {
		if inner, ok := strings.CutPrefix(text, "["); ok {
			text = strings.TrimSuffix(inner, "]")
		}
		addr, err = netip.ParseAddr(text)
	}
	if err != nil || addr.Zone() != "" {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// xffHops yields the elements of X-Forwarded-For from right to left, without the empty
// ones (RFC 9110, section 5.6.1).
func xffHops(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for more := true; more; {
				i := strings.LastIndexByte(line, ',')
				hop := strings.TrimSpace(line[i+1:])
				if more = i >= 0; more {
					line = line[:i]
				}
				if hop != "" && !yield(hop) {
					return
				}
			}
		}
	}
}
