package system

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

// startShell starts a shell script.
func startShell(t *testing.T, script string) *process {
	t.Helper()
	dir := t.TempDir()
	p, err := startProcess(dir, filepath.Join(dir, "log"), "sh", "-c", script)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// Children are part of pids and end with their parent, even if they ignore SIGTERM.
func TestStopEndsChildren(t *testing.T) {
	p := startShell(t, `sh -c 'trap "" TERM; echo up; while :; do sleep 1; done' & wait`)
	if err := p.waitUntil(t.Context(), func() bool { return strings.Contains(p.output(), "up\n") }); err != nil {
		t.Fatal(err)
	}
	pids := p.pids()
	if len(pids) < 2 {
		t.Fatalf("process tree %v, want a parent and a child", pids)
	}
	p.stop()
	if got := p.pids(); len(got) > 0 {
		t.Errorf("processes after stop: %v, want none", got)
	}
	for _, pid := range pids {
		if alive(pid) {
			t.Errorf("process %d is still running after stop", pid)
		}
	}
}

// The error for a program that exits early contains its output.
func TestWaitUntilReturnsLog(t *testing.T) {
	p := startShell(t, "echo no such luck; exit 3")
	err := p.waitUntil(t.Context(), func() bool { return false })
	if err == nil || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("waitUntil = %v, want the program's output", err)
	}
}

// Waiting for a program that never becomes ready ends with the context.
func TestWaitUntilEndsWithContext(t *testing.T) {
	p := startShell(t, "sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.waitUntil(ctx, func() bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("waitUntil = %v, want context.Canceled", err)
	}
}

func TestLaunchWithoutProgram(t *testing.T) {
	if _, err := startProcess(t.TempDir(), filepath.Join(t.TempDir(), "log"), "no-such-program"); err == nil {
		t.Error("startProcess of a missing program returned no error")
	}
}
