package system

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// startTimeout limits how long a system may take to answer after its start.
	startTimeout = 30 * time.Second
	// stopTimeout limits how long killed child processes may take to end.
	stopTimeout = 5 * time.Second
	// pollInterval is the time between two checks of a condition.
	pollInterval = 20 * time.Millisecond
)

// A process is a running program. Its child processes end with it. It must be used by
// one goroutine.
type process struct {
	cmd     *exec.Cmd
	logFile string        // file with its output
	exited  chan struct{} // closed after the process has ended
}

// startProcess starts a program in dir and writes its output to the file log.
func startProcess(dir, log, program string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(program, args...), logFile: log, exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = dir, out, out, processAttributes()
	started := make(chan error)
	go func() { // ends with the process; stop waits for it
		defer close(p.exited)
		runtime.LockOSThread() // required by processAttributes
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the log shows how it ended
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// waitUntil returns when ready returns true. It returns an error with the end of the
// log if the process exits or startTimeout passes. It does not stop the process.
func (p *process) waitUntil(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.exited:
			return p.failure(errors.New("the process has exited"))
		case <-ctx.Done():
			return p.failure(ctx.Err())
		}
	}
	return nil
}

func (p *process) failure(err error) error {
	return fmt.Errorf("%s did not become ready: %w; end of its log:\n%s", filepath.Base(p.cmd.Path), err, p.logTail())
}

// logTail returns the end of the output.
func (p *process) logTail() string {
	const most = 4 << 10
	text := p.output()
	return text[max(0, len(text)-most):]
}

// output returns everything that the process has written.
func (p *process) output() string {
	text, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stop kills the process and its children and waits for them. A graceful end is
// unnecessary because their data is not used again. Stopping a nil process does
// nothing.
func (p *process) stop() {
	if p == nil {
		return
	}
	tree := p.pids()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // fails if the group has already ended
	<-p.exited
	deadline := time.Now().Add(stopTimeout)
	for slices.ContainsFunc(tree, alive) && time.Now().Before(deadline) {
		time.Sleep(pollInterval)
	}
}

// alive reports whether a process exists and is not a zombie.
func alive(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(status), ") Z ")
}

// pids returns the process and its children, or nil if the process is nil or has ended.
func (p *process) pids() []int {
	if p == nil {
		return nil
	}
	select {
	case <-p.exited:
		return nil
	default:
		return processTree(p.cmd.Process.Pid)
	}
}

// processTree returns a process and all its descendants, according to /proc.
func processTree(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, processTree(n)...)
			}
		}
	}
	return all
}

// freePort returns a loopback TCP port that is currently free.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
