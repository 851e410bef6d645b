package serve

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// listenFlags set the address of the node.
type listenFlags struct {
	Listen   string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to listen on: host:port, or unix:/path for a Unix socket (default ${default})."`
	H2C      bool   `name:"h2c" env:"TIDEMARK_H2C" help:"Also accept HTTP/2 without TLS, from clients that start with it, such as some proxies. Without TLS the node otherwise speaks HTTP/1.1 only."`
	Insecure bool   `help:"Listen on an address other than loopback without authentication. Anyone who can reach the port can then publish and read everything."`
}

// socketPath returns the path of the Unix socket to listen on, if Listen is one.
func (f *listenFlags) socketPath() (path string, ok bool) {
	return strings.CutPrefix(f.Listen, "unix:")
}

// check checks the address as far as possible without a name lookup. listen checks the rest.
func (f *listenFlags) check(authenticated bool) error {
	if path, ok := f.socketPath(); ok {
		return checkSocketPath(path) // its file mode restricts access, so it needs no authentication
	}
	host, port, err := net.SplitHostPort(f.Listen)
	if err != nil {
		return cli.UsageError(fmt.Sprintf("--listen %s: want HOST:PORT, :PORT or unix:/path", f.Listen))
	}
	if _, err := net.LookupPort("tcp", port); err != nil { // uses no network
		return cli.UsageError(fmt.Sprintf("--listen %s: %v", f.Listen, err))
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && err != nil { // host is a name
		return nil
	}
	return f.checkExposure(ip.Unmap().IsLoopback(), authenticated)
}

// checkExposure refuses addresses other than loopback without authentication, unless
// --insecure allows it.
func (f *listenFlags) checkExposure(loopback, authenticated bool) error {
	if loopback || f.Insecure || authenticated {
		return nil
	}
	return cli.UsageError(fmt.Sprintf("--listen %s is not a loopback address, and clients need no token or key. "+
		"Every client that reaches the port could publish and read everything: "+
		"set --auth-secret-file or another --auth flag, or --insecure on a network that you trust", f.Listen))
}

// listen opens the listener. It resolves the address once, so that the address it checks is
// the address it uses.
func (f *listenFlags) listen(authenticated bool) (net.Listener, error) {
	if path, ok := f.socketPath(); ok {
		return listenUnix(path)
	}
	addr, err := net.ResolveTCPAddr("tcp", f.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", f.Listen, err)
	}
	if err := f.checkExposure(addr.IP.IsLoopback(), authenticated); err != nil {
		return nil, err
	}
	l, err := listenTCP(addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--listen %s: address already in use: stop the process that listens there, or choose another port", f.Listen)
	}
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", f.Listen, err)
	}
	return l, nil
}
