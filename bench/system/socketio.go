package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
)

// installTimeout limits how long npm may take to install about 30 packages.
const installTimeout = 3 * time.Minute

// SocketIO is Socket.IO on Node.js with connection state recovery. With Redis it uses
// the Redis Streams adapter and one process per core.
type SocketIO struct {
	dir string // directory of the server and its packages

	running *process // nil while stopped
	addr    string
}

var _ System = (*SocketIO)(nil)

// NewSocketIO uses the server in dir, which is peers/socketio of this module. The first
// start installs the packages.
func NewSocketIO(dir string) *SocketIO { return &SocketIO{dir: dir} }

// Name returns the system's name in results.
func (s *SocketIO) Name() string { return result.SocketIO }

// Version returns the versions of Socket.IO, the adapter and Node.js.
func (s *SocketIO) Version() (string, error) {
	node, err := exec.Command("node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "package.json"))
	if err != nil {
		return "", err
	}
	var pinned struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &pinned); err != nil {
		return "", fmt.Errorf("parse package.json of the Socket.IO server: %w", err)
	}
	const adapter = "@socket.io/redis-streams-adapter"
	return fmt.Sprintf("%s (%s %s, Node.js %s)", pinned.Dependencies["socket.io"],
		adapter, pinned.Dependencies[adapter], strings.TrimPrefix(strings.TrimSpace(string(node)), "v")), nil
}

// Start installs the packages if necessary. It ignores Options.Retain: Socket.IO keeps
// events in memory without a limit, or the last 100,000 events of all rooms in Redis.
func (s *SocketIO) Start(ctx context.Context, o Options) error {
	if s.running != nil {
		return errors.New("the Socket.IO server is already running")
	}
	if err := s.install(ctx); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	args := []string{"server.js", strconv.Itoa(port)}
	if o.Redis != nil {
		args = append(args, "redis://"+o.Redis.Addr())
	}
	p, err := startProcess(s.dir, filepath.Join(o.Dir, "socketio.log"), "node", args...)
	if err != nil {
		return err
	}
	if err := p.waitUntil(ctx, func() bool { return strings.Contains(p.output(), "ready\n") }); err != nil {
		p.stop()
		return err
	}
	s.running, s.addr = p, fmt.Sprintf("127.0.0.1:%d", port)
	return nil
}

// install installs the packages in package-lock.json, once.
func (s *SocketIO) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	lock, err := os.Open(filepath.Join(s.dir, "package-lock.json"))
	if err != nil {
		return err
	}
	defer lock.Close() // also releases the lock
	if err := lockFile(ctx, lock); err != nil {
		return fmt.Errorf("wait for another process that installs %s: %w", s.dir, err)
	}
	// npm writes this file last, so its presence means that the installation is
	// complete.
	if _, err := os.Stat(filepath.Join(s.dir, "node_modules", ".package-lock.json")); err == nil {
		return nil
	}
	c := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	c.Dir = s.dir
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w: %s", s.dir, err, out)
	}
	return nil
}

// lockFile waits for the file lock, because tests of several packages start at the same
// time.
func lockFile(ctx context.Context, file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stop ends all processes.
func (s *SocketIO) Stop() {
	s.running.stop()
	s.running = nil
}

// PIDs returns the ids of the Node.js processes.
func (s *SocketIO) PIDs() []int { return s.running.pids() }

// Follow supports WebSocket only.
func (s *SocketIO) Follow(t Transport) (f load.Follow, ok bool) {
	return load.Follow{Addr: s.addr, Protocol: load.SocketIO, Path: "/socket.io/?EIO=4&transport=websocket"}, t == WebSocket
}

// Publish sends a POST whose body is the data.
func (s *SocketIO) Publish() load.Publish {
	return load.Publish{Addr: s.addr, How: load.Post, Path: "/publish/{room}", Body: "{data}"}
}
