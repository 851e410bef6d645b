package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

const (
	// Ports are taken from below the range for outgoing connections (from 32768 on Linux),
	// because an outgoing connection could take the port of a stopped server.
	firstPort = 20_000
	endPort   = 32_000

	// portTries bounds the search for a free port.
	portTries = 200
)

// A port is a TCP port of 127.0.0.1 that is reserved for one server, also while the server
// is down. An open UDP port of the same number marks it as taken for all test binaries of
// the machine, until this binary ends.
type port struct {
	number int
	mark   net.PacketConn
}

func takePort() (*port, error) {
	for range portTries {
		p := &port{number: firstPort + rand.N(endPort-firstPort)}
		var err error
		if p.mark, err = net.ListenPacket("udp", p.addr()); err != nil {
			continue
		}
		l, err := net.Listen("tcp", p.addr())
		if err != nil {
			p.release()
			continue
		}
		return p, l.Close()
	}
	return nil, errors.New("no free port found")
}

func (p *port) addr() string { return net.JoinHostPort("127.0.0.1", p.String()) }

func (p *port) String() string { return strconv.Itoa(p.number) }

func (p *port) release() { _ = p.mark.Close() }

// FreeAddr returns a loopback address that is reserved for the test. Its UDP port is taken
// too.
func FreeAddr(t testing.TB) string {
	t.Helper()
	p, err := takePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.release)
	return p.addr()
}
