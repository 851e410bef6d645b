//go:build unix

package main

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
)

// A node tells the service manager when it listens and when it stops.
func TestNotifiesServiceManager(t *testing.T) {
	t.Parallel()
	address := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	expect := func(want string) {
		t.Helper()
		if err := manager.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		message := make([]byte, 100)
		n, err := manager.Read(message)
		if got := string(message[:n]); err != nil || got != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	s := tidemark.Serve(t, program.Options{Env: []string{"NOTIFY_SOCKET=" + address}}, "--data", t.TempDir())
	expect("READY=1")
	s.Signal(syscall.SIGTERM)
	expect("STOPPING=1")
	if code := s.Wait(); code != 0 {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
}

// A node serves even if the service manager is gone.
func TestServiceManagerIsGone(t *testing.T) {
	t.Parallel()
	tidemark.Serve(t, program.Options{Env: []string{"NOTIFY_SOCKET=/nowhere/socket"}}, "--data", t.TempDir())
}
