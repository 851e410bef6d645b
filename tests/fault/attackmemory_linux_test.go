package fault_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
)

const (
	// memoryEvery is the interval between two looks at a node's memory.
	memoryEvery = 50 * time.Millisecond

	// profileFrom is the resident size in bytes of the first heap profile. The watch takes
	// another one after each growth by an eighth.
	profileFrom = 512 << 20

	// processorProfile is the longest duration of a processor profile.
	processorProfile = 20 * time.Second

	// memoryGiveUp is the resident size in bytes at which the watch kills the node, to
	// protect the machine. The attack has succeeded long before.
	memoryGiveUp = 4 << 30
)

// A memoryWatch observes the resident memory of a process, and takes profiles of its heap
// while it grows.
type memoryWatch struct {
	server   *program.Server
	profiles string // address of --pprof-listen
	quit     chan struct{}
	done     chan struct{} // closed when run has ended

	mu         sync.Mutex // guards the fields below
	most       int        // resident bytes
	sockets    int        // bytes in the buffers of all TCP sockets of the machine
	heap       []byte     // profile of the largest heap seen
	goroutines string     // their number at that time
}

func watchMemory(s *program.Server, profiles string) *memoryWatch {
	w := &memoryWatch{server: s, profiles: profiles, quit: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// stop ends the watch and waits for its goroutine.
func (w *memoryWatch) stop() {
	close(w.quit)
	<-w.done
}

func (w *memoryWatch) run() {
	defer close(w.done)
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	next := profileFrom
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
		}
		now := w.resident()
		w.peak()
		w.lookAtSockets()
		switch {
		case now > memoryGiveUp:
			w.server.Kill()
			return
		case now > next:
			w.takeProfile()
			next = now + now/8
		}
	}
}

// resident returns the resident memory in bytes; 0 if the process has ended.
func (w *memoryWatch) resident() int { return w.status("VmRSS:") }

// peak returns the most resident memory so far, as the kernel counts it.
func (w *memoryWatch) peak() int {
	now := w.status("VmHWM:")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.most = max(w.most, now)
	return w.most
}

// lookAtSockets reads the size of all TCP buffers. The kernel counts those of a container's
// sockets as memory of the container, but not as resident memory of the process.
func (w *memoryWatch) lookAtSockets() {
	text, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(text)) {
		if tcp, ok := strings.CutPrefix(line, "TCP:"); ok {
			_, pages, _ := strings.Cut(tcp, " mem ")
			n, _ := strconv.Atoi(strings.TrimSpace(pages))
			w.mu.Lock()
			w.sockets = max(w.sockets, n*os.Getpagesize())
			w.mu.Unlock()
		}
	}
}

// socketPeak returns the most memory in the buffers of all TCP sockets so far.
func (w *memoryWatch) socketPeak() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sockets
}

// status returns a size from the process's status in /proc, in bytes.
func (w *memoryWatch) status(name string) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", w.server.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), name)
	line, _, _ := strings.Cut(rest, "\n")
	kilobytes, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(line, "kB")))
	return kilobytes << 10
}

// takeProfile replaces the heap profile.
func (w *memoryWatch) takeProfile() {
	heap, err := w.get("/debug/pprof/heap")
	if err != nil {
		return // the node may be too busy: the earlier profile remains
	}
	goroutines, _ := w.get("/debug/pprof/goroutine?debug=1")
	line, _, _ := strings.Cut(string(goroutines), "\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heap, w.goroutines = heap, line
}

// profileProcessor writes a processor profile of an attack, if -fault.dir says where.
func (w *memoryWatch) profileProcessor(t *testing.T, attack time.Duration) {
	if *keepIn == "" {
		return
	}
	cpu, err := w.get(fmt.Sprintf("/debug/pprof/profile?seconds=%d", min(attack, processorProfile)/time.Second))
	if err == nil {
		err = os.WriteFile(filepath.Join(*keepIn, strings.ReplaceAll(t.Name(), "/", "-")+".cpu"), cpu, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

func (w *memoryWatch) get(path string) ([]byte, error) {
	c := http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get("http://" + w.profiles + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(resp.Body)
}

// explain logs the largest allocations of the last heap profile.
func (w *memoryWatch) explain(t *testing.T) {
	t.Helper()
	w.mu.Lock()
	heap, goroutines := w.heap, w.goroutines
	w.mu.Unlock()
	if heap == nil {
		return
	}
	dir := *keepIn
	if dir == "" {
		dir = t.TempDir()
	}
	file := filepath.Join(dir, strings.ReplaceAll(t.Name(), "/", "-")+".heap")
	if err := os.WriteFile(file, heap, 0o644); err != nil {
		t.Error(err)
		return
	}
	out, err := exec.Command("go", "tool", "pprof", "-top", "-nodecount=20", "-sample_index=inuse_space", file).CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s\n%s", goroutines, out)
}
