package system

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/tidemark/tidemark/bench/load"
)

// Floor is the write floor: a process that does nothing but write(2) what it is sent
// to each of its connections, from two threads. See package floor.
type Floor struct {
	program string
	process *process
	addr    string
}

var _ System = (*Floor)(nil)

// NewFloor is the floor of this program, which has the subcommand floor.
func NewFloor(program string) *Floor { return &Floor{program: program} }

// Name is "floor".
func (f *Floor) Name() string { return "floor" }

// Version is empty: it is of this program.
func (f *Floor) Version() (string, error) { return "", nil }

// Start starts the process.
func (f *Floor) Start(ctx context.Context, o Options) (err error) {
	if f.process, err = launch(o.Dir, filepath.Join(o.Dir, "floor.log"), f.program, "floor"); err != nil {
		return err
	}
	err = f.process.await(ctx, func() bool {
		line, _, whole := strings.Cut(f.process.said(), "\n")
		f.addr = line
		return whole
	})
	if err != nil {
		f.Stop()
	}
	return err
}

// Stop ends the process.
func (f *Floor) Stop() {
	f.process.stop()
	f.process = nil
}

// PIDs are that of the process.
func (f *Floor) PIDs() []int { return f.process.pids() }

// Follow follows over SSE.
func (f *Floor) Follow(t Transport) (load.Follow, bool) {
	return load.Follow{Addr: f.addr, Protocol: load.SSE, Path: "/{room}"}, t == SSE
}

// Publish posts the data as it is.
func (f *Floor) Publish() load.Publish {
	return load.Publish{Addr: f.addr, How: load.Post, Path: "/{room}", Body: "{data}"}
}
