package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const (
	program = "redis-server"

	// stopWait is how long an orderly end may take before it is forced.
	stopWait = 10 * time.Second

	// portTries bounds how often a start looks for another port. A port that was
	// free a moment ago may be taken by the next test binary.
	portTries = 5
)

// A processServer is a redis-server process with a directory of its own.
type processServer struct {
	// Fixed by startProcess.
	dir  string
	port int
	args []string

	// Of the running process; replaced by restart. Tests use a server from one
	// goroutine at a time.
	cmd    *exec.Cmd
	exited chan struct{} // closed once the process has been waited for
}

var _ backend = (*processServer)(nil)

// startProcess starts a redis-server that answers.
func startProcess(args []string) (backend, error) {
	dir, err := os.MkdirTemp("", "tidemark-redis-")
	if err != nil {
		return nil, err
	}
	s := &processServer{dir: dir, args: args}
	for range portTries {
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.restart(); err == nil {
			return s, nil
		}
	}
	_ = os.RemoveAll(dir)
	return nil, err
}

func (s *processServer) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *processServer) restart() error {
	if s.running() {
		return errors.New("it is still running")
	}
	if err := s.launch(); err != nil {
		return err
	}
	if err := awaitPing(s.addr(), s.alive); err != nil {
		_ = s.kill()
		return fmt.Errorf("%w\n%s", err, s.lastWords())
	}
	return nil
}

// launch starts the process and a goroutine that waits for its end; stop and
// kill wait for that goroutine.
func (s *processServer) launch() error {
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(program, s.commandLine()...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended shows in its log
	}()
	s.cmd, s.exited = cmd, exited
	return nil
}

// commandLine has the test's arguments last, for redis-server lets the last one win.
func (s *processServer) commandLine() []string {
	return append([]string{
		"--bind", "127.0.0.1", "--port", strconv.Itoa(s.port), "--dir", s.dir,
		"--save", "", "--appendonly", "no",
	}, s.args...)
}

func (s *processServer) stop() error { return s.end(syscall.SIGTERM) }
func (s *processServer) kill() error { return s.end(syscall.SIGKILL) }

func (s *processServer) end(sig syscall.Signal) error {
	if !s.running() {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(stopWait):
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	return fmt.Errorf("%v was ignored for %v\n%s", sig, stopWait, s.lastWords())
}

func (s *processServer) close() {
	_ = s.kill()
	_ = os.RemoveAll(s.dir)
}

func (s *processServer) running() bool { return s.cmd != nil && s.alive() == nil }

// alive returns an error once the process has ended.
func (s *processServer) alive() error {
	select {
	case <-s.exited:
		return errors.New("redis-server ended")
	default:
		return nil
	}
}

func (s *processServer) logFile() string { return filepath.Join(s.dir, "redis.log") }

// lastWords are the last lines of the server's log.
func (s *processServer) lastWords() []byte {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return nil
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], nil)
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
