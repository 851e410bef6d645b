// Package program runs the real tidemark as a process, for tests that signal and kill it. A
// test binary builds it once.
package program

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// waitLimit bounds each wait. Only a hang reaches it.
const waitLimit = time.Minute

// A Program is a built tidemark.
type Program struct{ path string }

// Build builds tidemark, with further flags of go build, into a new directory. remove
// removes the directory. Call Build in TestMain.
func Build(flags ...string) (p Program, remove func(), err error) {
	dir, err := os.MkdirTemp("", "tidemark-program-")
	if err != nil {
		return Program{}, nil, err
	}
	p = Program{path: filepath.Join(dir, "tidemark")}
	args := append([]string{"build", "-o", p.path}, flags...)
	out, err := exec.Command("go", append(args, "github.com/tidemark/tidemark/cmd/tidemark")...).CombinedOutput()
	if err != nil {
		err = errors.Join(fmt.Errorf("go build: %w\n%s", err, out), os.RemoveAll(dir))
	}
	return p, func() { _ = os.RemoveAll(dir) }, err
}

// At returns the tidemark at path, which another process has built.
func At(path string) Program { return Program{path: path} }

// Path returns the path of the executable, for At.
func (p Program) Path() string { return p.path }

// Options say how to start a process.
type Options struct {
	Env   []string // in addition to PATH, HOME and TZ
	Stdin string
	Dir   string // working directory; "" is the test's
}

// A Process is a running tidemark. It ends with the test.
type Process struct {
	// Stdout and Stderr hold the output so far.
	Stdout, Stderr *Output

	t      testing.TB
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
}

// Start starts tidemark with args. The test fails if it writes a secret into its log.
func (p Program) Start(t testing.TB, o Options, args ...string) *Process {
	t.Helper()
	secrets := secretsOf(t, o, args)
	process := Start(t, o, p.path, args...)
	t.Cleanup(func() {
		process.Kill() // so that the log is complete
		log := process.Stderr.String()
		if len(args) > 0 && args[0] == "serve" {
			log += process.Stdout.String()
		}
		keepsSecrets(t, log, secrets)
	})
	return process
}

// Start starts any program, as Program.Start does.
func Start(t testing.TB, o Options, path string, args ...string) *Process {
	t.Helper()
	cmd := exec.Command(path, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TZ=UTC"}, o.Env...)
	cmd.Dir = o.Dir
	cmd.Stdin = strings.NewReader(o.Stdin)
	p := &Process{Stdout: newOutput(), Stderr: newOutput(), t: t, cmd: cmd, exited: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.Stdout, p.Stderr
	cmd.WaitDelay = waitLimit // for a child that keeps the pipes open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait() // the code is in cmd.ProcessState
		p.Stdout.end()
		p.Stderr.end()
		close(p.exited)
	}()
	t.Cleanup(p.Kill)
	return p
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill ends the process at once, with SIGKILL, and waits for it.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended already
	<-p.exited
}

// Signal sends a signal.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%v: %v", s, err)
	}
}

// Wait waits until the process ends by itself, and returns its exit code.
func (p *Process) Wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode()
	case <-time.After(waitLimit):
		p.t.Fatalf("%s is still running\n%s", p.cmd, p.Stderr)
		return -1
	}
}

// Run runs tidemark to its end, and returns its output and exit code.
func (p Program) Run(t testing.TB, o Options, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	process := p.Start(t, o, args...)
	code = process.Wait()
	return process.Stdout.String(), process.Stderr.String(), code
}

// Must is Run for commands that must succeed. It returns the standard output.
func (p Program) Must(t testing.TB, o Options, args ...string) string {
	t.Helper()
	stdout, stderr, code := p.Run(t, o, args...)
	if code != 0 {
		t.Fatalf("tidemark %s: exit code %d\n%s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// A Server is a tidemark that runs the command serve.
type Server struct {
	*Process
	Addr string // host:port
}

// URL returns the server's address as clients take it.
func (s *Server) URL() string { return "http://" + s.Addr }

// Serve starts a server on a free loopback port, or on the address of --listen in args, and
// returns when it listens.
func (p Program) Serve(t testing.TB, o Options, args ...string) *Server {
	t.Helper()
	args = append([]string{"serve", "--listen=127.0.0.1:0", "--log-format=json"}, args...)
	s := &Server{Process: p.Start(t, o, args...)}
	s.Stderr.Await(t, "its address", func(text string) bool {
		s.Addr = listening(text)
		return s.Addr != ""
	})
	return s
}

// listening returns the server's address from its JSON log, or "" if the log has none yet.
func listening(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
			return entry.Address
		}
	}
	return ""
}
