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

// installWait is how long npm may take to get some 30 packages.
const installWait = 3 * time.Minute

// SocketIO is Socket.IO on Node.js, with connection state recovery, and with the Redis
// Streams adapter and a process for each core where it keeps its events in Redis.
type SocketIO struct {
	peer string // the directory of the server and its packages

	running *process // nil while it is stopped
	addr    string
}

var _ System = (*SocketIO)(nil)

// NewSocketIO takes the directory peers/socketio of this module. The packages are
// installed into it when it is first started.
func NewSocketIO(peer string) *SocketIO { return &SocketIO{peer: peer} }

// Name is the system's in tables.
func (s *SocketIO) Name() string { return result.SocketIO }

// Version is that of Socket.IO, of the adapter and of Node.js.
func (s *SocketIO) Version() (string, error) {
	node, err := exec.Command("node", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(s.peer, "package.json"))
	if err != nil {
		return "", err
	}
	var pinned struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &pinned); err != nil {
		return "", fmt.Errorf("package.json of Socket.IO: %w", err)
	}
	const adapter = "@socket.io/redis-streams-adapter"
	return fmt.Sprintf("%s (%s %s, Node.js %s)", pinned.Dependencies["socket.io"],
		adapter, pinned.Dependencies[adapter], strings.TrimPrefix(strings.TrimSpace(string(node)), "v")), nil
}

// Start installs the packages if need be. What a room has to keep is kept in any
// case: in memory as much as fits, in Redis the last 100,000 events of all rooms.
func (s *SocketIO) Start(ctx context.Context, o Options) error {
	if s.running != nil {
		return errors.New("socket.io is running already")
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
	p, err := launch(s.peer, filepath.Join(o.Dir, "socketio.log"), "node", args...)
	if err != nil {
		return err
	}
	if err := p.await(ctx, func() bool { return strings.Contains(p.said(), "ready\n") }); err != nil {
		p.stop()
		return err
	}
	s.running, s.addr = p, fmt.Sprintf("127.0.0.1:%d", port)
	return nil
}

// install gets the packages that package-lock.json names, once.
func (s *SocketIO) install(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, installWait)
	defer cancel()
	lock, err := os.Open(filepath.Join(s.peer, "package-lock.json"))
	if err != nil {
		return err
	}
	defer lock.Close() // which unlocks it
	if err := lockFile(ctx, lock); err != nil {
		return fmt.Errorf("waiting for others that install %s: %w", s.peer, err)
	}
	// npm writes this file last, so it stands for a complete installation.
	if _, err := os.Stat(filepath.Join(s.peer, "node_modules", ".package-lock.json")); err == nil {
		return nil
	}
	c := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	c.Dir = s.peer
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w: %s", s.peer, err, out)
	}
	return nil
}

// lockFile waits until no other process has the file locked: tests of several
// packages start at the same time.
func lockFile(ctx context.Context, file *os.File) error {
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Stop ends all its processes.
func (s *SocketIO) Stop() {
	s.running.stop()
	s.running = nil
}

// PIDs are the processes of Node.js.
func (s *SocketIO) PIDs() []int { return s.running.pids() }

// Follow knows WebSockets alone.
func (s *SocketIO) Follow(t Transport) (f load.Follow, ok bool) {
	return load.Follow{Addr: s.addr, Protocol: load.SocketIO, Path: "/socket.io/?EIO=4&transport=websocket"}, t == WebSocket
}

// Publish is a POST of the event's data.
func (s *SocketIO) Publish() load.Publish {
	return load.Publish{Addr: s.addr, How: load.Post, Path: "/publish/{room}", Body: "{data}"}
}
