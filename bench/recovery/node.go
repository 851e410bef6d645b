package recovery

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidemark/tidemark/bench/system"
)

// A node is one server process of a system. It may be killed and started again, on the
// same address.
type node struct {
	// Fixed by newNode.
	system  peer
	name    string
	dir     string // its files
	addr    string
	redis   string // URL
	history int    // events that a room must keep

	starts  int
	program *system.Program
}

func newNode(p peer, name, dir string, r *redis, history int) (*node, error) {
	port, err := system.FreePort()
	if err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, name)
	return &node{system: p, name: name, dir: dir, addr: address(port), redis: r.url(), history: history}, os.Mkdir(dir, 0o700)
}

// start returns when the node accepts publishes.
func (n *node) start(ctx context.Context) error {
	command, err := n.system.command(n)
	if err != nil {
		return err
	}
	n.starts++
	log := filepath.Join(n.dir, fmt.Sprintf("log-%d", n.starts))
	if n.program, err = system.StartProgram(n.dir, log, command[0], command[1:]...); err != nil {
		return err
	}
	return n.program.WaitUntil(ctx, func() bool {
		p := publisher{system: n.system, room: "start", addrs: []string{n.addr}}
		return p.attempt(ctx, n.starts, "{}") == nil
	})
}

// kill kills the node as kill -9 does.
func (n *node) kill() {
	if n.program != nil {
		n.program.Kill()
	}
}
