package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// stopWait is how long a server may take to stop before it is killed.
const stopWait = 10 * time.Second

// Options describe a redis-server process. The zero value is the
// redis-server on the PATH, with nothing kept on disk.
type Options struct {
	// Args are arguments of redis-server, such as "--appendonly", "yes".
	Args []string

	// Clock gives the server a clock that StepClock moves.
	Clock bool

	// Newer selects Redis 7.2 or later, which has WAITAOF. It cannot be combined with Clock.
	Newer bool

	// Announce, if set, is called with the server's address before it starts. It returns the
	// address under which replicas, Sentinels, other Cluster nodes and clients find the
	// server, such as that of a proxy. The bus between Cluster nodes does not use it.
	Announce func(addr string) string
}

// A processServer is a redis-server process with its own directory.
type processServer struct {
	// Fixed by startProcess.
	opt       Options
	conf      confFunc
	program   string
	dir       string
	port      *port
	bus       *port // of a Cluster node; otherwise nil
	announced string
	clock     *clock // nil for the machine's clock

	// The running process; replaced by restart. Tests use a server from one goroutine at a
	// time.
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has ended
}

var _ backend = (*processServer)(nil)

// startArgs starts a redis-server with its arguments.
func startArgs(args []string) (backend, error) { return startProcess(Options{Args: args}, nil) }

// A confFunc returns a server's configuration file, which precedes all arguments. announced
// is the address to announce. nil means no file.
type confFunc func(announced string) []byte

// startProcess starts a redis-server and waits until it answers.
func startProcess(opt Options, conf confFunc) (backend, error) {
	s := &processServer{opt: opt, conf: conf, program: program}
	err := s.prepare()
	if err == nil {
		err = s.restart()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// prepare reserves the resources of the server: its program, directory, ports and clock.
func (s *processServer) prepare() (err error) {
	if s.opt.Newer && s.opt.Clock {
		return errors.New("libfaketime does not get on with the newer Redis")
	}
	if s.opt.Newer {
		if s.program, err = newerProgram(); err != nil {
			return err
		}
	}
	if s.dir, err = os.MkdirTemp("", "tidemark-redis-"); err != nil {
		return err
	}
	if s.port, err = takePort(); err != nil {
		return err
	}
	if slices.Contains(s.opt.Args, "--cluster-enabled") {
		if s.bus, err = takePort(); err != nil {
			return err
		}
	}
	if s.opt.Clock {
		if s.clock, err = newClock(filepath.Join(s.dir, "clock")); err != nil {
			return err
		}
	}
	s.announced = s.addr()
	if s.opt.Announce != nil {
		s.announced = s.opt.Announce(s.addr())
	}
	if s.conf != nil {
		return os.WriteFile(s.confFile(), s.conf(s.announced), 0o600)
	}
	return nil
}

func (s *processServer) addr() string { return s.port.addr() }

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

// launch starts the process in a goroutine that waits for its end; stop and kill wait for
// that goroutine.
func (s *processServer) launch() error {
	out, err := os.OpenFile(s.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(s.program, s.commandLine()...)
	cmd.Stdout, cmd.Stderr = out, out
	if s.clock != nil {
		cmd.Env = append(os.Environ(), s.clock.env()...)
	}
	endWithParent(cmd)
	started, exited := make(chan error), make(chan struct{})
	go func() {
		defer close(exited)
		runtime.LockOSThread() // required by endWithParent
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = cmd.Wait() // the log shows how it ended
		if s.clock != nil {
			s.clock.tidy(cmd.Process.Pid)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.exited = cmd, exited
	return nil
}

// commandLine puts the test's arguments last, because redis-server uses the last value of an
// option.
func (s *processServer) commandLine() []string {
	var line []string
	if s.conf != nil {
		line = append(line, s.confFile())
	}
	line = append(line, "--bind", "127.0.0.1", "--port", s.port.String(), "--dir", s.dir,
		"--save", "", "--appendonly", "no")
	if s.conf == nil {
		line = append(line, quickLink()...)
	}
	if s.bus != nil {
		line = append(line, "--cluster-port", s.bus.String())
	}
	if s.opt.Announce != nil && s.conf == nil {
		line = append(line, announce(s.announced)...)
	}
	return append(line, s.opt.Args...)
}

// quickLink returns arguments that start replication without a delay and detect a silent
// peer quickly.
func quickLink() []string {
	return []string{"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"}
}

func (s *processServer) stop() error {
	if err := s.resume(); err != nil { // a stopped process does not handle SIGTERM
		return err
	}
	return s.end(syscall.SIGTERM)
}

func (s *processServer) kill() error { return s.end(syscall.SIGKILL) }

func (s *processServer) pause() error  { return s.signal(syscall.SIGSTOP) }
func (s *processServer) resume() error { return s.signal(syscall.SIGCONT) }

// signal does nothing if the process has ended.
func (s *processServer) signal(sig syscall.Signal) error {
	if !s.running() {
		return nil
	}
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

func (s *processServer) end(sig syscall.Signal) error {
	if !s.running() {
		return nil
	}
	if err := s.signal(sig); err != nil {
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
	if s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
	for _, p := range []*port{s.port, s.bus} {
		if p != nil {
			p.release()
		}
	}
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

func (s *processServer) logFile() string  { return filepath.Join(s.dir, "redis.log") }
func (s *processServer) confFile() string { return filepath.Join(s.dir, "redis.conf") }

// lastWords returns the last lines of the server's log.
func (s *processServer) lastWords() []byte {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return nil
	}
	lines := bytes.SplitAfter(log, []byte("\n"))
	return bytes.Join(lines[max(0, len(lines)-10):], nil)
}

// announce returns the arguments that make a server announce addr.
func announce(addr string) []string {
	host, port, _ := net.SplitHostPort(addr)
	return []string{
		"--replica-announce-ip", host, "--replica-announce-port", port,
		"--cluster-announce-ip", host, "--cluster-announce-port", port,
	}
}
