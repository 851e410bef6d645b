package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// commandTimeout limits one command of a generator process.
const commandTimeout = 5 * time.Minute

// A Process is a Generator in its own process, so that it shares neither file
// descriptors nor memory with other parts. It must be used by one goroutine. It ends
// when its standard input closes, so at the latest when the current process ends.
type Process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	enc *json.Encoder
	dec *json.Decoder
}

// StartProcess starts a program that calls Serve.
func StartProcess(program string, args ...string) (*Process, error) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Process{cmd, in, json.NewEncoder(in), json.NewDecoder(out)}, nil
}

// Do executes a command. If ctx ends or the command exceeds its time limit, the process
// is killed and must not be used again.
func (p *Process) Do(ctx context.Context, c Command) (Report, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = p.cmd.Process.Kill() })
	defer stop()
	var r reply
	if err := errors.Join(p.enc.Encode(c), p.dec.Decode(&r)); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return r.Report, fmt.Errorf("load generator: %w", err)
	}
	if r.Error != "" {
		return r.Report, errors.New(r.Error)
	}
	return r.Report, nil
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Close ends the process and waits for it.
func (p *Process) Close() {
	_ = p.in.Close()
	stop := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer stop.Stop()
	_ = p.cmd.Wait() // errors have already been reported by Do
}
