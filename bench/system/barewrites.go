package system

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/tidemark/tidemark/bench/load"
)

// BareWrites is the comparison with bare writes: a process that writes each event to
// every connection from two threads. See package barewrites.
type BareWrites struct {
	program string
	process *process
	addr    string
}

var _ System = (*BareWrites)(nil)

// NewBareWrites uses the given program, which must have the subcommand bare-writes.
func NewBareWrites(program string) *BareWrites { return &BareWrites{program: program} }

// Name returns the system's name in results.
func (f *BareWrites) Name() string { return "floor" }

// Version returns an empty string: the code is part of this program.
func (f *BareWrites) Version() (string, error) { return "", nil }

// Start starts the process.
func (f *BareWrites) Start(ctx context.Context, o Options) (err error) {
	if f.process, err = startProcess(o.Dir, filepath.Join(o.Dir, "bare-writes.log"), f.program, "bare-writes"); err != nil {
		return err
	}
	err = f.process.waitUntil(ctx, func() bool {
		line, _, whole := strings.Cut(f.process.output(), "\n")
		f.addr = line
		return whole
	})
	if err != nil {
		f.Stop()
	}
	return err
}

// Stop ends the process.
func (f *BareWrites) Stop() {
	f.process.stop()
	f.process = nil
}

// PIDs returns the id of the process.
func (f *BareWrites) PIDs() []int { return f.process.pids() }

// Follow supports SSE only.
func (f *BareWrites) Follow(t Transport) (load.Follow, bool) {
	return load.Follow{Addr: f.addr, Protocol: load.SSE, Path: "/{room}"}, t == SSE
}

// Publish sends a POST whose body is the data.
func (f *BareWrites) Publish() load.Publish {
	return load.Publish{Addr: f.addr, How: load.Post, Path: "/{room}", Body: "{data}"}
}
