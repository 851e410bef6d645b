package deploy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/require"
)

// walkLimit bounds the walk. Most of it is the build of the program.
const walkLimit = 10 * time.Minute

// A step is a block of commands of docs/operations.md.
type step struct {
	line     int
	commands string
	output   string // the output on the page, with … for any text; "" if the page shows none
}

// stepsOf returns the blocks that are marked to be run, each with the output after it.
func stepsOf(page string) []step {
	var steps []step
	lines := strings.Split(page, "\n")
	for i := 0; i < len(lines); i++ {
		info, fenced := strings.CutPrefix(lines[i], "```")
		if !fenced {
			continue
		}
		start := i + 1
		for i++; i < len(lines) && lines[i] != "```"; i++ {
		}
		block := strings.Join(lines[start:i], "\n") + "\n"
		switch {
		case info == "sh run":
			steps = append(steps, step{line: start, commands: block})
		case info == "text" && len(steps) > 0:
			steps[len(steps)-1].output = block
		}
	}
	return steps
}

// A reader who pastes the commands of the walk, in order, gets the output on the page. The
// commands run in their own network namespace, where their ports are free, and as a process
// group that ends with the test.
func TestWalk(t *testing.T) {
	t.Parallel()
	steps := stepsOf(read(t, "docs/operations.md"))
	if len(steps) < 10 {
		t.Fatalf("%d steps", len(steps))
	}
	out, err := runWalk(t, scriptOf(steps))
	outputs := strings.Split(out, mark)[1:]
	for i, output := range outputs {
		if i == len(outputs)-1 && err != nil {
			t.Fatalf("docs/operations.md:%d: %v\n%s\nit said:\n%s", steps[i].line, err, steps[i].commands, output)
		}
		if want := steps[i].output; want != "" && !pattern(want).MatchString(output) {
			t.Errorf("docs/operations.md:%d: the output is\n%s\nand the page shows\n%s", steps[i].line, output, want)
		}
	}
	if len(outputs) != len(steps) {
		t.Errorf("%d of %d steps: %v", len(outputs), len(steps), err)
	}
}

// mark precedes each step's output.
const mark = "\n@@ step @@\n"

// scriptOf returns the script of the walk. It ends at the first command that fails.
func scriptOf(steps []step) string {
	var script strings.Builder
	script.WriteString("set -euo pipefail\nip link set lo up\n")
	for _, s := range steps {
		fmt.Fprintf(&script, "printf '%s'\n%s", strings.ReplaceAll(mark, "\n", `\n`), s.commands)
	}
	return script.String()
}

// pattern matches an output of the page, in which … stands for any text.
func pattern(shown string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(strings.TrimSpace(shown))
	return regexp.MustCompile(`(?s)^\s*` + strings.ReplaceAll(quoted, "…", ".*") + `\s*$`)
}

// runWalk runs a script in the project's directory, with its own HOME, and returns the
// output.
func runWalk(t *testing.T, script string) (string, error) {
	t.Helper()
	require.NetworkNamespace(t)
	for _, name := range []string{"bash", "make", "redis-server", "nginx", "openssl", "curl", "ip"} {
		require.Program(t, name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), walkLimit)
	defer cancel()
	file := filepath.Join(t.TempDir(), "walk")
	must(t, os.WriteFile(file, []byte(script), 0o600))
	cmd := exec.CommandContext(ctx, "bash", file)
	cmd.Dir = project("")
	cmd.Env = append(goEnvironment(t), "HOME="+t.TempDir(), "PATH="+os.Getenv("PATH"), "LC_ALL=C")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: syscall.CLONE_NEWNET}
	if uid, gid := os.Geteuid(), os.Getegid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
		cmd.SysProcAttr.AmbientCaps = []uintptr{unix.CAP_NET_ADMIN} // for "ip link"
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the walk in a network namespace: %v", err)
	}
	group := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = group
	defer func() { _ = group() }() // kills the processes that the walk has left running
	cmd.WaitDelay = wait.Limit
	err := cmd.Wait()
	return out.String(), err
}

// goEnvironment returns the locations of Go's caches, which Go otherwise derives from HOME.
func goEnvironment(t *testing.T) []string {
	t.Helper()
	var env []string
	for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOPROXY", "GOFLAGS", "GOSUMDB"} {
		value, err := exec.Command("go", "env", name).Output()
		must(t, err)
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	return env
}
