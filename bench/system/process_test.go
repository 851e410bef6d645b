package system

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// shell starts a shell script.
func shell(t *testing.T, script string) *process {
	t.Helper()
	dir := t.TempDir()
	p, err := launch(dir, filepath.Join(dir, "log"), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// Children count, and end with their parent, also those that take no SIGTERM.
func TestStopEndsChildren(t *testing.T) {
	p := shell(t, `sh -c 'trap "" TERM; echo up; while :; do sleep 1; done' & wait`)
	if err := p.await(t.Context(), func() bool { return strings.Contains(p.said(), "up\n") }); err != nil {
		t.Fatal(err)
	}
	pids := p.pids()
	if len(pids) < 2 {
		t.Fatalf("the family is %v, want a parent and a child", pids)
	}
	p.stop()
	if got := p.pids(); len(got) > 0 {
		t.Errorf("after stop there are %v", got)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// A program that ends instead of answering says why.
func TestAwaitTellsLastWords(t *testing.T) {
	p := shell(t, "echo no such luck; exit 3")
	err := p.await(t.Context(), func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("await = %v, want what the program said", err)
	}
}

// A program that never answers is given up with the context.
func TestAwaitEndsWithContext(t *testing.T) {
	p := shell(t, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.await(ctx, func() bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("await = %v", err)
	}
}

func TestLaunchWithoutProgram(t *testing.T) {
	if _, err := launch(t.TempDir(), filepath.Join(t.TempDir(), "log"), "no-such-program"); err == nil {
		t.Error("a program that is not there was started")
	}
}
