package api

import (
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const (
	// maxHops bounds the proxies that a request may have come through.
	maxHops = 16
	// maxHop bounds what one of them is named by: an IPv6 address with brackets and a
	// port has 47 characters.
	maxHop = 64
	// socketPeers is the word for all that come over a Unix socket, who have no address.
	socketPeers = "unix"
)

var errProxy = errors.New("not a network of proxies")

// ParseProxy reads a network whose proxies are believed: a CIDR such as 10.0.0.0/8, an
// address, or "unix" for whoever connects over a Unix socket, which is the zero Prefix.
func ParseProxy(text string) (netip.Prefix, error) {
	if text == socketPeers {
		return netip.Prefix{}, nil
	}
	network, err := netip.ParsePrefix(text)
	if addr, alone := netip.ParseAddr(text); alone == nil && addr.Zone() == "" {
		network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return network, fmt.Errorf("%w: %.80q: want one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1, or %q", errProxy, text, socketPeers)
	}
	if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
	}
	if network.Bits() == 0 {
		return network, fmt.Errorf("%w: %.80q is everybody: anybody could say to be anybody else", errProxy, text)
	}
	return network.Masked(), nil
}

// ProxyText returns a network as ParseProxy reads it.
func ProxyText(network netip.Prefix) string {
	if network == (netip.Prefix{}) {
		return socketPeers
	}
	return network.String()
}

// client returns the address of whoever sent r, without a zone, and never as an IPv6
// address where it is an IPv4 one. Peers over a Unix socket have the zero Addr.
//
// What proxies say (X-Forwarded-For; Forwarded, RFC 7239) is believed from those of
// Options.TrustedProxies alone. Each adds to the right whom it got the request from: so
// it is read from the right, up to the first that is no such proxy, for what stands
// further left anybody may have written. Where a proxy does not say who (or in a way
// that can't be read) it is the proxy's own address.
//
// A proxy sets one of the two headers and may pass the other on as the client wrote it.
// So where both are there and do not agree, neither is believed.
func (s *Server) client(r *http.Request) netip.Addr {
	peer := peerOf(r)
	if !s.trusts(peer) {
		return peer
	}
	usual, standard := r.Header["X-Forwarded-For"], r.Header["Forwarded"]
	if standard == nil {
		return s.followBack(peer, hopsOf(usual))
	}
	client := s.followBack(peer, standardHopsOf(standard))
	if usual != nil && s.followBack(peer, hopsOf(usual)) != client {
		return peer
	}
	return client
}

// clientText names a client for the log.
func clientText(addr netip.Addr) string {
	if !addr.IsValid() {
		return socketPeers
	}
	return addr.String()
}

// peerOf returns the address at the other end of the connection; the zero Addr over a
// Unix socket.
func peerOf(r *http.Request) netip.Addr {
	ap, _ := netip.ParseAddrPort(r.RemoteAddr) // net/http has it from the connection
	return ap.Addr().Unmap().WithZone("")
}

// trusts reports whether addr is of a proxy that is believed.
func (s *Server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.opts.TrustedProxies, func(network netip.Prefix) bool {
		return network.Contains(addr) || network == (netip.Prefix{}) && addr == (netip.Addr{})
	})
}

// followBack goes from peer, which is trusted, back along the hops, the nearest first.
func (s *Server) followBack(peer netip.Addr, hops iter.Seq[string]) netip.Addr {
	at, n := peer, 0
	for hop := range hops {
		addr, ok := parseHop(hop)
		if n++; !ok || n > maxHops {
			return at
		}
		if at = addr; !s.trusts(at) {
			return at
		}
	}
	return at
}

// parseHop reads the address by which a proxy names a peer, with a port or without,
// IPv6 in brackets or not.
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
	if err != nil || addr.Zone() != "" { // a zone means something on the proxy's machine alone
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// hopsOf goes through the elements of X-Forwarded-For from the right.
func hopsOf(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			for more := true; more; {
				i := strings.LastIndexByte(line, ',')
				hop := strings.TrimSpace(line[i+1:])
				if more = i >= 0; more {
					line = line[:i]
				}
				if hop != "" && !yield(hop) { // an empty element is none (RFC 9110, 5.6.1)
					return
				}
			}
		}
	}
}

// standardHopsOf goes through what the elements of Forwarded say in "for", from the
// right: "" for nothing that can be read. A line that is not as it should be has one
// element, which says nothing: the client may have begun a quoted string in it that
// swallows what a proxy has added.
func standardHopsOf(lines []string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range slices.Backward(lines) {
			hops, ok := parseForwarded(line)
			if !ok {
				hops = []string{""}
			}
			for _, hop := range slices.Backward(hops) {
				if !yield(hop) {
					return
				}
			}
		}
	}
}

// parseForwarded returns what each element of a line of Forwarded says in "for"
// (RFC 7239, 4), without the quotes; "" where it says nothing.
func parseForwarded(line string) (hops []string, ok bool) {
	for more := true; more; {
		var element string
		if element, line, more, ok = cutOutsideQuotes(line, ','); !ok {
			return nil, false
		}
		if strings.TrimSpace(element) == "" {
			continue
		}
		hop, ok := forOf(element)
		if !ok {
			return nil, false
		}
		hops = append(hops, hop)
	}
	return hops, true
}

// forOf returns the value of "for" in an element of Forwarded, which has it at most
// once.
func forOf(element string) (value string, ok bool) {
	seen := false
	for more := true; more; {
		var pair string
		pair, element, more, _ = cutOutsideQuotes(element, ';') // all quotes were seen to end
		name, said, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if seen {
			return "", false
		}
		seen, value = true, strings.Trim(said, `"`)
	}
	return value, true
}

// cutOutsideQuotes is strings.Cut for a separator that is not in a quoted string
// (RFC 9110, 5.6.4). ok is false where such a string does not end.
func cutOutsideQuotes(s string, sep byte) (before, after string, found, ok bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == sep && !quoted:
			return s[:i], s[i+1:], true, true
		}
	}
	return s, "", false, !quoted
}
