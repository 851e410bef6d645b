package clientip

import (
	"errors"
	"fmt"
	"net/netip"
)

// UnixSocket names the peers that connect over a Unix socket and have no address.
const UnixSocket = "unix"

var errProxy = errors.New("not a proxy network")

// ParseProxy reads the network of trusted proxies: a CIDR such as 10.0.0.0/8, an address,
// or "unix" for every peer on a Unix socket, which is the zero Prefix.
func ParseProxy(text string) (netip.Prefix, error) {
	if text == UnixSocket {
		return netip.Prefix{}, nil
	}
	network, err := netip.ParsePrefix(text)
	if addr, alone := netip.ParseAddr(text); alone == nil && addr.Zone() == "" {
		network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return network, fmt.Errorf("%w: %.80q: want one like 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1, or %q", errProxy, text, UnixSocket)
	}
	if addr := network.Addr(); addr.Is4In6() && network.Bits() >= 96 {
		network = netip.PrefixFrom(addr.Unmap(), network.Bits()-96)
	}
	if network.Bits() == 0 {
		return network, fmt.Errorf("%w: %.80q contains every address, so any client could claim any address", errProxy, text)
	}
	return network.Masked(), nil
}

// ProxyText returns a network in the form that ParseProxy reads.
func ProxyText(network netip.Prefix) string {
	if network == (netip.Prefix{}) {
		return UnixSocket
	}
	return network.String()
}
