package system

import "context"

// A Program is a running program that its user may kill and start again. Its child
// processes end with it. It must be used by one goroutine.
type Program struct{ process *process }

// StartProgram starts a program in dir and writes its output to the file log.
func StartProgram(dir, log, program string, args ...string) (*Program, error) {
	p, err := startProcess(dir, log, program, args...)
	if err != nil {
		return nil, err
	}
	return &Program{process: p}, nil
}

// WaitUntil returns when ready returns true. It fails if the program exits, if 30 s
// pass, or if ctx ends. It does not stop the program.
func (p *Program) WaitUntil(ctx context.Context, ready func() bool) error {
	return p.process.waitUntil(ctx, ready)
}

// Output returns everything that the program has written.
func (p *Program) Output() string { return p.process.output() }

// Kill sends SIGKILL to the program and its children and waits for them.
func (p *Program) Kill() { p.process.stop() }

// FreePort returns a loopback TCP port that is currently free.
func FreePort() (int, error) { return freePort() }

// CommandOutput returns the output of a program, including standard error.
func CommandOutput(program string, args ...string) (string, error) {
	return commandOutput(program, args...)
}
