package redistest

import (
	"context"
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

func TestStart(t *testing.T) {
	s := Start(t)
	c := s.Client()
	if err := c.Set(context.Background(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	if n := c.DBSize(context.Background()).Val(); n != 0 {
		t.Errorf("%d keys after Flush, want 0", n)
	}
	s.Stop()
	if err := c.Ping(context.Background()).Err(); err == nil {
		t.Error("the server answers after Stop")
	}
}

// What an append-only file keeps survives SIGKILL, at the same address.
func TestRestartKeepsPortAndData(t *testing.T) {
	s := StartProcess(t, "--appendonly", "yes", "--appendfsync", "always")
	addr := s.Addr()
	if err := s.Client().Set(context.Background(), "k", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Kill()
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("Addr() = %s after Restart, was %s", s.Addr(), addr)
	}
	if got := s.Client().Get(context.Background(), "k").Val(); got != "v" {
		t.Errorf("GET k = %q after Restart, want v", got)
	}
}

func TestSharedIsShared(t *testing.T) {
	if a, b := Shared(t), Shared(t); a.Addr() != b.Addr() {
		t.Errorf("two servers: %s and %s", a.Addr(), b.Addr())
	}
}

func TestSourceNamesTheServer(t *testing.T) {
	if s := Source(); !strings.Contains(s, "redis") {
		t.Errorf("Source() = %q", s)
	}
}

func TestBadArgumentsSayWhy(t *testing.T) {
	skipShort(t)
	if err := processWorks(); err != nil {
		t.Fatal(err)
	}
	_, err := startProcess(Options{Args: []string{"--no-such-setting", "1"}}, nil)
	if err == nil || !strings.Contains(err.Error(), "no-such-setting") {
		t.Errorf("startProcess = %v, want Redis's complaint", err)
	}
}
