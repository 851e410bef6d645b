package main

import (
	"net/netip"

	"github.com/tidemark/tidemark/api"
)

// limitFlags say how much of a node a client may use.
type limitFlags struct {
	TrustedProxy []proxy `placeholder:"CIDR" group:"limits" help:"Network whose proxies are believed about where a request comes from (X-Forwarded-For, Forwarded), such as 10.0.0.0/8 or an address, or 'unix' for a proxy that connects over a Unix socket. Repeatable."`
}

// proxy is a network of proxies.
type proxy netip.Prefix

func (p *proxy) UnmarshalText(text []byte) error {
	parsed, err := api.ParseProxy(string(text))
	*p = proxy(parsed)
	return err
}

// proxies returns the networks that are believed.
func (f *limitFlags) proxies() []netip.Prefix {
	list := make([]netip.Prefix, len(f.TrustedProxy))
	for i, p := range f.TrustedProxy {
		list[i] = netip.Prefix(p)
	}
	return list
}
