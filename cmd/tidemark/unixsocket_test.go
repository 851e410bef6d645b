package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/require"
)

// socketMode is the documented mode of a node's Unix socket.
const socketMode = 0o660

// A node on a Unix socket needs no authentication, because the file mode restricts access. curl
// and the client commands can reach it. When it stops, it removes its socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidemark.sock")
	s := tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir())
	if s.Addr != "unix:"+path {
		t.Errorf("the node listens on %q", s.Addr)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|socketMode {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	client := program.Options{Env: []string{"TIDEMARK_URL=unix:" + path}}
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)
	if got := tidemark.Must(t, client, "health"); got != "ok\n" {
		t.Errorf("health printed %q", got)
	}
	t.Run("curl", func(t *testing.T) {
		curl := exec.Command(require.Program(t, "curl"), "-s", "--unix-socket", path, "http://localhost/v1/rooms/lobby/events")
		if out, err := curl.CombinedOutput(); err != nil || !strings.Contains(string(out), id) {
			t.Errorf("curl: %s %v", out, err)
		}
	})

	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", "unix:"+path, "--data", t.TempDir())
	if code != exitFailed || !strings.Contains(stderr, "another process listens on it") || len(lines(stderr)) != 1 {
		t.Errorf("a second node on the socket: exit code %d\n%s", code, stderr)
	}
	tidemark.Must(t, client, "health") // the first node still serves

	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket still exists: %v", err)
	}
}

// The socket of a killed node does not stop the next node from starting; any other file at
// the path does.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tidemark.sock")
	tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir()).Kill()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("the killed node left no socket: this test tests nothing")
	}
	tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir())
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}

	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{
		file:                             "is not a socket",
		"":                               "want unix: and a path",
		"/" + strings.Repeat("long", 30): "want unix: and a path",
		dir + "/none/tidemark.sock":      "no such file or directory",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", "unix:"+where, "--data", t.TempDir())
		if code == exitOK || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("unix:%s: exit code %d, want one line with %q:\n%s", where, code, want, stderr)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}
