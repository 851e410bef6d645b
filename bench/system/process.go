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
	// startWait is how long a system may take until it answers.
	startWait = 30 * time.Second
	// stopWait is how long the children of a process may take to end when they are killed.
	stopWait = 5 * time.Second
	// pollEvery is how often something is asked that does not tell by itself.
	pollEvery = 20 * time.Millisecond
)

// A process is a program that has been started. It may have children, which end
// with it. It is used by one goroutine.
type process struct {
	cmd    *exec.Cmd
	log    string        // the file with all that it says
	exited chan struct{} // closed once it has been waited for
}

// launch starts a program in dir, where it leaves what it says in the file log.
func launch(dir, log, program string, args ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.Command(program, args...), log: log, exited: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = dir, out, out, attributes()
	started := make(chan error)
	go func() { // until the process has ended: stop waits for it
		defer close(p.exited)
		runtime.LockOSThread() // as attributes asks for
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended shows in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	return p, nil
}

// await returns when ready says so, or with an error that has the process's last
// words where that takes too long or the process ends. The process goes on then.
func (p *process) await(ctx context.Context, ready func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for !ready() {
		select {
		case <-tick.C:
		case <-p.exited:
			return p.failure(errors.New("it has ended"))
		case <-ctx.Done():
			return p.failure(ctx.Err())
		}
	}
	return nil
}

func (p *process) failure(err error) error {
	return fmt.Errorf("%s does not come up: %w\n%s", filepath.Base(p.cmd.Path), err, p.lastWords())
}

// lastWords is the end of what the process said.
func (p *process) lastWords() string {
	const most = 4 << 10
	said := p.said()
	return said[max(0, len(said)-most):]
}

// said is all that the process said.
func (p *process) said() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// stop ends the process and its children, and waits for them. It kills: nobody
// will want what they keep. Nil has ended already.
func (p *process) stop() {
	if p == nil {
		return
	}
	family := p.pids()
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) // or there is none left
	<-p.exited
	deadline := time.Now().Add(stopWait)
	for slices.ContainsFunc(family, alive) && time.Now().Before(deadline) {
		time.Sleep(pollEvery)
	}
}

// alive reports whether there is such a process, other than one that has ended and
// that nobody has waited for.
func alive(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(status), ") Z ")
}

// pids are the process and its children; none if it has ended, and of nil.
func (p *process) pids() []int {
	if p == nil {
		return nil
	}
	select {
	case <-p.exited:
		return nil
	default:
		return family(p.cmd.Process.Pid)
	}
}

// family is a process and all that descend from it, as /proc has them.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		text, _ := os.ReadFile(task)
		for _, child := range strings.Fields(string(text)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}

// freePort is a TCP port of loopback that nobody listens on at the moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
