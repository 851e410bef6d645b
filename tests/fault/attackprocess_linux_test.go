package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Attackers run in a process of their own: this test binary with a plan in its environment.
// The process has the lowest priority. Real attackers have processors of their own, so on
// one machine the work of sending an attack must not take time from the node and the
// strangers. The work that the attack makes for the node has the node's priority.
//
// The low priority also slows the attackers of a busy node: they get the processor time that
// the node, Redis and the strangers leave. So the node is never attacked by more than two
// processors can send while they also serve it.

// attackPlanIn is the environment variable of an attackPlan.
const attackPlanIn = "TIDEMARK_FAULT_ATTACK"

// An attackPlan is the task of a process of attackers.
type attackPlan struct {
	Attack    string // name in the table
	Lasts     time.Duration
	Addr      string // of the node
	Redis     string // URL; "" with the embedded log
	Subscribe string // credential of a user who may only subscribe; "" on an open node
	Publish   string // credential of a user who may only publish
}

// An attackReport is the result of a process of attackers.
type attackReport struct {
	Connections, Bytes int64
	Answers            map[string]int
	Notes, Faults      []string
}

// attackProcess attacks if this process has an attackPlan, and ends it.
func attackProcess() {
	text, ok := os.LookupEnv(attackPlanIn)
	if !ok {
		return
	}
	var plan attackPlan
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	for _, a := range costAttacks() {
		if a.name != plan.Attack {
			continue
		}
		ctx, stop := context.WithTimeout(context.Background(), plan.Lasts)
		by := newAttackers(plan)
		a.run(ctx, by)
		stop()
		if err := json.NewEncoder(os.Stdout).Encode(by.report()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	fmt.Fprintln(os.Stderr, "no such attack:", plan.Attack)
	os.Exit(2)
}

// run starts a process of attackers and returns its report when the process has ended.
func (p attackPlan) run(ctx context.Context) (report attackReport, err error) {
	const lowest = 19
	ctx, stop := context.WithTimeout(ctx, p.Lasts+time.Minute)
	defer stop()
	plan, err := json.Marshal(p)
	if err != nil {
		return report, err
	}
	self, err := os.Executable()
	if err != nil {
		return report, err
	}
	var out, errs bytes.Buffer
	done := make(chan error, 1)
	go func() {
		// A new process inherits the priority of the thread that starts it. The thread
		// ends with this goroutine, which never unlocks it. It must stay until then,
		// because the kernel ends the process with the thread.
		runtime.LockOSThread()
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, lowest); err != nil {
			done <- err
			return
		}
		cmd := exec.CommandContext(ctx, self)
		cmd.Env = append(os.Environ(), attackPlanIn+"="+string(plan))
		cmd.Stdout, cmd.Stderr = &out, &errs
		ownGroup(cmd)
		done <- cmd.Run()
	}()
	if err := <-done; err != nil {
		return report, fmt.Errorf("attackers: %w\n%s", err, &errs)
	}
	return report, json.Unmarshal(out.Bytes(), &report)
}
