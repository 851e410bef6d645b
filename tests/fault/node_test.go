package fault_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A node is a sequence of tidemark processes at one address.
type node struct {
	t       *testing.T
	name    string
	program program.Program
	flags   []string
	addr    string    // its own
	link    *link     // between nginx and it
	redis   *link     // between it and Redis; nil where there are several Redis servers
	before  footprint // its resources before any client connected
	probe   *client   // follows the room of probes on this node, directly

	interruptions atomic.Int64 // number of stops, kills and drains, and of recoveries from them

	mu     sync.Mutex // guards the fields below
	server *program.Server
	logs   []*program.Output // of all processes so far
}

// newNode starts a node. It ends with the test.
func newNode(t *testing.T, p program.Program, name string, flags ...string) *node {
	t.Helper()
	n := &node{t: t, name: name, program: p, addr: redistest.FreeAddr(t)}
	n.flags = append([]string{"--listen=" + n.addr, "--node=" + name}, flags...)
	n.start()
	n.link = newLink(t, n.addr)
	return n
}

// addrFor returns the address that nginx connects to.
func (n *node) addrFor() string { return n.link.addr }

// start starts the process, and returns when it listens. start and resume end an
// interruption.
func (n *node) start() {
	n.t.Helper()
	s := n.program.Serve(n.t, program.Options{}, n.flags...)
	defer n.interruptions.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server = s
	n.logs = append(n.logs, s.Stderr)
}

func (n *node) process() *program.Server {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.server
}

// kill ends the process with SIGKILL.
func (n *node) kill() {
	n.interruptions.Add(1)
	n.process().Kill()
}

// drain ends the process with SIGTERM and waits for it.
func (n *node) drain() {
	n.interruptions.Add(1)
	n.process().Signal(syscall.SIGTERM)
	if code := n.process().Wait(); code != 0 {
		n.t.Errorf("node %s ended with code %d after SIGTERM", n.name, code)
	}
}

// pause stops the process with SIGSTOP, and resume continues it.
func (n *node) pause() {
	n.interruptions.Add(1)
	n.process().Signal(syscall.SIGSTOP)
}

func (n *node) resume() {
	n.process().Signal(syscall.SIGCONT)
	n.interruptions.Add(1)
}

// log returns the output of all processes of the node.
func (n *node) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all strings.Builder
	for _, l := range n.logs {
		all.WriteString(l.String())
	}
	return all.String()
}

// ready reports whether the node says that it is ready.
func (n *node) ready() bool {
	c := http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + n.addr + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// A footprint is the resources that a node holds.
type footprint struct{ goroutines, files, connections, subscriptions, rooms, heap int }

// footprint reads the node's resources from its metrics.
func (n *node) footprint() (footprint, error) {
	m, err := n.metrics()
	return footprint{
		goroutines:    int(m["go_goroutines"]),
		files:         int(m["process_open_fds"]),
		connections:   int(m[`tidemark_connections{transport="sse"}`] + m[`tidemark_connections{transport="websocket"}`]),
		subscriptions: int(m["tidemark_subscriptions"]),
		rooms:         int(m["tidemark_rooms"]),
		heap:          int(m["go_memstats_heap_alloc_bytes"]),
	}, err
}

// metrics returns the node's metrics by name and labels.
func (n *node) metrics() (map[string]float64, error) {
	c := http.Client{Timeout: wait.Limit, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + n.addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("metrics: %s", resp.Status)
	}
	all := make(map[string]float64)
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		if all[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	return all, lines.Err()
}
