package recovery

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A group is a Node.js process with clients that follow one room. The process writes a
// line for each thing that happens to a client; see node/client.js.
type group struct {
	cmd  *exec.Cmd
	done sync.WaitGroup // the goroutine that reads the output

	mu      sync.Mutex // guards the fields below
	clients []received
	opens   []int          // how often each client has subscribed
	notes   map[string]int // what else happened, and how often
}

// startGroup starts count clients that connect to addr. The directory node holds the
// program.
func startGroup(node, system, addr, room string, count int) (*group, error) {
	g := &group{clients: make([]received, count), opens: make([]int, count), notes: make(map[string]int)}
	g.cmd = exec.Command("node", filepath.Join(node, "client.js"), system, addr, room, strconv.Itoa(count))
	g.cmd.Stderr = os.Stderr
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	g.done.Go(func() { g.read(out) })
	return g, nil
}

func (g *group) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		g.mu.Lock()
		g.handle(lines.Text())
		g.mu.Unlock()
	}
}

// handle records a line: CLIENT, a verb, and the rest.
func (g *group) handle(line string) {
	client, rest, _ := strings.Cut(line, " ")
	verb, rest, _ := strings.Cut(rest, " ")
	c, err := strconv.Atoi(client)
	if err != nil || c < 0 || c >= len(g.clients) {
		g.notes["unreadable line: "+line]++
		return
	}
	switch verb {
	case "open":
		g.opens[c]++
	case "event":
		n, _ := strconv.Atoi(rest) // 0, which is not an event, if it cannot be read
		g.clients[c].events = append(g.clients[c].events, n)
	case "told":
		g.clients[c].told++
		g.notes["told: "+rest]++
	default:
		g.notes[verb+" "+rest]++
	}
}

// stop ends the process.
func (g *group) stop() {
	_ = g.cmd.Process.Kill()
	g.done.Wait()
	_ = g.cmd.Wait()
}

// opened returns how often each client has subscribed.
func (g *group) opened() []int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]int(nil), g.opens...)
}

// waitOpen waits until each client has subscribed more often than in before.
func (g *group) waitOpen(before []int, limit time.Duration) bool {
	return waitFor(limit, func() bool {
		for c, n := range g.opened() {
			if n <= before[c] {
				return false
			}
		}
		return true
	})
}

// waitEvent waits until each client has received event n. It gives up when no client has
// received anything for the given time.
func (g *group) waitEvent(n int, silence time.Duration) bool {
	_, before := g.reached(n)
	for {
		all, total := false, before
		if !waitFor(silence, func() bool {
			all, total = g.reached(n)
			return all || total > before
		}) {
			return false
		}
		if all {
			return true
		}
		before = total
	}
}

// reached reports whether each client has received event n, and how many events all
// clients have received.
func (g *group) reached(n int) (all bool, total int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	all = true
	for _, c := range g.clients {
		total += len(c.events)
		all = all && endsWith(c.events, n)
	}
	return all, total
}

// waitActive waits until each client has received an event after the call.
func (g *group) waitActive(limit time.Duration) bool {
	lengths := func() (n []int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, c := range g.clients {
			n = append(n, len(c.events))
		}
		return n
	}
	before := lengths()
	return waitFor(limit, func() bool {
		for c, n := range lengths() {
			if n <= before[c] {
				return false
			}
		}
		return true
	})
}

// endsWith reports whether n is among the last events.
func endsWith(events []int, n int) bool {
	for _, e := range events[max(0, len(events)-20):] {
		if e == n {
			return true
		}
	}
	return false
}

// count compares what the clients have received with the events 1 to published.
func (g *group) count(published int) Count {
	g.mu.Lock()
	defer g.mu.Unlock()
	return count(g.clients, published)
}

// describe returns a copy of the notes.
func (g *group) describe() map[string]int {
	g.mu.Lock()
	defer g.mu.Unlock()
	notes := make(map[string]int, len(g.notes))
	for note, times := range g.notes {
		notes[note] = times
	}
	return notes
}

// waitFor polls until the condition is true. It returns false after the limit.
func waitFor(limit time.Duration, condition func() bool) bool {
	for deadline := time.Now().Add(limit); ; time.Sleep(50 * time.Millisecond) {
		if condition() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// installPackages installs the Node.js packages of the lock file, once.
func installPackages(node string) error {
	if _, err := os.Stat(filepath.Join(node, "node_modules", ".package-lock.json")); err == nil {
		return nil
	}
	c := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	c.Dir = node
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w: %s", node, err, out)
	}
	return nil
}
