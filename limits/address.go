package limits

import "net/netip"

// homeBits is how much of an IPv6 address tells one caller from another: a home or a
// machine is given a /64 as a rule, and may use a new address in it for each
// connection (RFC 6177, RFC 8981).
const homeBits = 64

// NetworkOf returns what an address is counted by, wherever callers are counted by
// address: an IPv4 address for itself, an IPv6 address with all others of its /64. A
// caller without an address (the zero Addr) is counted with all others without one,
// by the zero Prefix.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	network, _ := a.Prefix(min(a.BitLen(), homeBits)) // never longer than the address
	return network
}
