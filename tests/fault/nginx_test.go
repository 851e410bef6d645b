package fault_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/redistest"
)

// An edge is nginx in front of the nodes, with deploy/nginx.conf, and a link in front of
// nginx for the clients whose own network has faults.
type edge struct {
	t       *testing.T
	dir     string
	addr    string // nginx's
	url     string
	clients *link // in front of nginx

	cmd    *exec.Cmd     // the primary process of nginx, which leads its own process group
	exited chan struct{} // closed when the process has ended
	log    lockedBuffer
}

// newEdge starts nginx in front of nodes. It ends with the test.
func newEdge(t *testing.T, nodes []*node) *edge {
	t.Helper()
	e := &edge{t: t, dir: t.TempDir(), addr: redistest.FreeAddr(t)}
	e.url = "http://" + e.addr
	e.configure(nodes)
	e.start()
	t.Cleanup(e.kill)
	e.clients = newLink(t, e.addr)
	return e
}

// addrFor returns the address that a client connects to.
func (e *edge) addrFor(c *client) string {
	switch {
	case c.at != "":
		return c.at
	case c.staged:
		return e.clients.addr
	}
	return e.addr
}

// configure writes deploy/nginx.conf with the test's addresses and directories.
func (e *edge) configure(nodes []*node) {
	e.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", "nginx.conf"))
	if err != nil {
		e.t.Fatal(err)
	}
	var servers strings.Builder
	for _, n := range nodes {
		fmt.Fprintf(&servers, "server %s max_fails=1 fail_timeout=2s;\n", n.addrFor())
	}
	conf := string(text)
	for old, new := range map[string]string{
		"listen 8080;":                                   "listen " + e.addr + ";",
		"worker_shutdown_timeout 60s;":                   "worker_shutdown_timeout 1s;", // after a reload, old workers soon end their clients
		"server node1:8080 max_fails=1 fail_timeout=2s;": servers.String(),
		"server node2:8080 max_fails=1 fail_timeout=2s;": "",
		"http {\n": "http {\n" + e.temporaryPaths(),
	} {
		if strings.Count(conf, old) != 1 {
			e.t.Fatalf("deploy/nginx.conf has %q %d times, want once", old, strings.Count(conf, old))
		}
		conf = strings.Replace(conf, old, new, 1)
	}
	if err := os.WriteFile(e.conf(), []byte(e.head()+conf), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) conf() string { return filepath.Join(e.dir, "nginx.conf") }

// head returns the settings with which nginx runs as part of a test.
func (e *edge) head() string {
	text := "daemon off;\nerror_log stderr notice;\npid " + e.dir + "/pid;\n"
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // only root can read its directory
	}
	return text
}

// temporaryPaths returns settings that keep nginx out of the system's directories.
func (e *edge) temporaryPaths() string {
	var text strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "%s_temp_path %s/%s;\n", kind, e.dir, kind)
	}
	return text.String()
}

// start starts nginx and waits until it answers.
func (e *edge) start() {
	e.t.Helper()
	e.cmd = exec.Command("nginx", "-p", e.dir, "-c", e.conf(), "-e", "stderr")
	e.cmd.Stderr = &e.log
	ownGroup(e.cmd)
	e.cmd.WaitDelay = wait.Limit
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	e.exited = make(chan struct{})
	go func() {
		defer close(e.exited)
		_ = e.cmd.Wait()
	}()
	deadline := time.Now().Add(wait.Limit)
	for {
		conn, err := net.Dial("tcp", e.addr)
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			e.t.Fatalf("nginx does not answer: %v\n%s", err, e.log.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// kill ends nginx and its workers with SIGKILL. Killing again does nothing.
func (e *edge) kill() {
	err := syscall.Kill(-e.cmd.Process.Pid, syscall.SIGKILL)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		e.t.Errorf("kill nginx: %v", err)
	}
	<-e.exited
}

// reload makes nginx start new workers; the old ones end their clients.
func (e *edge) reload() {
	if err := e.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		e.t.Errorf("reload nginx: %v", err)
	}
}

// newHTTP returns a client for publishers. It keeps connections open.
func newHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100, DisableCompression: true}}
}

// A lockedBuffer is written by a process while other goroutines read it.
type lockedBuffer struct {
	mu  sync.Mutex // guards the field below
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
