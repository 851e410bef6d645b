//go:build linux

package edge

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/require"
)

// insideVar tells a test that it runs in network namespaces, and where the program is.
const insideVar = "TIDEMARK_EDGE_INSIDE"

// inside runs the test again, in a process whose network the test can break, and returns
// true in that process. In the first process it returns false when the second has ended; the
// tests that follow run meanwhile.
func inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideVar) != "" {
		return true
	}
	require.NetworkNamespace(t)
	require.Program(t, "ip")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	cmd := exec.Command(self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=10m")
	cmd.Env = append(os.Environ(), insideVar+"="+tidemark.Path())
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the test in a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // kills its children too
	t.Parallel()
	if err := cmd.Wait(); err != nil {
		t.Errorf("inside the namespaces: %v", err)
	}
	t.Logf("in namespaces:\n%s", &output)
	return false
}

// A namespace is a network namespace and a thread inside it.
type namespace struct {
	t    *testing.T
	path string
	jobs chan func() // run by the thread; nil for the process's own network
}

// newNamespace returns a new namespace. It ends with the test.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	n := &namespace{t: t, jobs: make(chan func())}
	entered := make(chan error)
	var running sync.WaitGroup
	running.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		n.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		entered <- err
		for job := range n.jobs {
			job()
		}
	})
	t.Cleanup(func() { close(n.jobs); running.Wait() })
	if err := <-entered; err != nil {
		t.Fatalf("unshare: %v", err)
	}
	return n
}

// do runs f in the namespace and waits. f must not end the test.
func (n *namespace) do(f func()) {
	if n.jobs == nil {
		f()
		return
	}
	done := make(chan struct{})
	n.jobs <- func() { defer close(done); f() }
	<-done
}

// ip runs the program ip in the namespace.
func (n *namespace) ip(args string) {
	n.t.Helper()
	var err error
	n.do(func() { err = runIP(args) })
	if err != nil {
		n.t.Fatal(err)
	}
}

func runIP(args string) error {
	out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %s: %w\n%s", args, err, out)
	}
	return nil
}

// dial connects to addr from the namespace. receive is the size of the receive buffer in
// bytes; 0 means the system's default.
func (n *namespace) dial(addr string, receive int) (*conn, error) {
	dialer := net.Dialer{Timeout: wait.Limit, KeepAlive: -1}
	if receive > 0 {
		dialer.Control = func(_, _ string, c syscall.RawConn) (err error) {
			_ = c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receive) })
			return err
		}
	}
	var conn net.Conn
	var err error
	n.do(func() { conn, err = dialer.Dial("tcp", addr) })
	if err != nil {
		return nil, err
	}
	return newConn(conn.(*net.TCPConn)), nil
}

// An internet is a router between the server's network, which is the process's own, and the
// network of each client.
type internet struct {
	t              *testing.T
	server, router *namespace
	homes          int
}

// newInternet makes an internet without clients.
func newInternet(t *testing.T) *internet {
	t.Helper()
	i := &internet{t: t, server: &namespace{t: t}, router: newNamespace(t)}
	i.server.ip("link set lo up")
	var err error
	i.router.do(func() { err = os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// A clientNet is a client's network. Each reaches the server at a separate address, so that the
// router can drop packets in one direction.
type clientNet struct {
	*namespace
	why             string // the server must end its connections
	address, server string
}

// newClientNet adds a client's network.
func (i *internet) newClientNet(why string) *clientNet {
	i.t.Helper()
	i.homes++
	near, far := fmt.Sprintf("10.35.%d", i.homes), fmt.Sprintf("10.36.%d", i.homes)
	h := &clientNet{namespace: newNamespace(i.t), why: why, address: near + ".1", server: far + ".1"}
	i.connect(h.namespace, "home", near)
	i.connect(i.server, fmt.Sprint("server", i.homes), far)
	h.ip("route add default via " + near + ".2")
	i.server.ip("route add " + h.address + " via " + far + ".2 src " + h.server)
	return h
}

// connect adds a link from n to the router. subnet is the beginning of its addresses: n has
// number 1, the router number 2.
func (i *internet) connect(n *namespace, name, subnet string) {
	i.t.Helper()
	far := "to." + subnet
	n.ip("link add " + name + " type veth peer name " + far + " netns " + i.router.path)
	n.ip("addr add " + subnet + ".1/24 dev " + name)
	n.ip("link set " + name + " up")
	i.router.ip("addr add " + subnet + ".2/24 dev " + far)
	i.router.ip("link set " + far + " up")
}
