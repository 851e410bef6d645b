//go:build linux

package edge

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strings"
)

// A connection is the kernel's view of one of the server's connections.
type connection struct {
	unread  bool // the receive queue has bytes that the server has not read
	probing bool // the client's window is closed and the kernel probes it
}

// connections returns the server's established connections by the address of the client. See
// proc_net_tcp in the kernel's documentation.
func (s *server) connections() map[string]connection {
	s.t.Helper()
	const established, windowProbe = "01", "04"
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		s.t.Fatal(err)
	}
	found := make(map[string]connection)
	for _, table := range []string{"tcp", "tcp6"} { // a server that listens on all addresses has IPv6 sockets
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", s.PID(), table))
		if err != nil {
			s.t.Fatal(err)
		}
		for row := range strings.Lines(string(text)) {
			fields := strings.Fields(row) // number, local, remote, state, queues, timer, …
			if len(fields) < 6 || fields[3] != established || !strings.HasSuffix(address(fields[1]), ":"+port) {
				continue
			}
			_, unread, _ := strings.Cut(fields[4], ":")
			timer, _, _ := strings.Cut(fields[5], ":")
			found[address(fields[2])] = connection{unread: strings.Trim(unread, "0") != "", probing: timer == windowProbe}
		}
	}
	return found
}

// address parses an IPv4 address of these tables: four bytes in the machine's byte order (in
// tcp6 the last of sixteen), and the port.
func address(text string) string {
	var ip uint32
	var port int
	if _, err := fmt.Sscanf(text[max(0, len(text)-len("01020304:1234")):], "%08X:%04X", &ip, &port); err != nil {
		return text
	}
	at := net.TCPAddr{IP: binary.NativeEndian.AppendUint32(nil, ip), Port: port}
	return at.String()
}
