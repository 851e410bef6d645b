package limits

import "net/netip"

// ipv6Bits is the length of the IPv6 prefix that identifies a caller. A home or a machine
// usually has a /64 and may use a new address of it for each connection (RFC 6177,
// RFC 8981).
const ipv6Bits = 64

// NetworkOf returns the network under which the limits count an address: an IPv4 address
// by itself, an IPv6 address with its whole /64. The zero Addr, of a caller without an
// address, gives the zero Prefix.
func NetworkOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	network, _ := a.Prefix(min(a.BitLen(), ipv6Bits)) // never longer than the address
	return network
}
