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
)

// A node on a Unix socket needs no credentials, for its mode says whom it lets in. It is
// reached by curl and by the client commands, and removes its socket.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tidemark.sock")
	s := tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir())
	if s.Addr != "unix:"+path {
		t.Errorf("it listens on %q", s.Addr)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|socketMode {
		t.Errorf("the socket is %v, %v", info.Mode(), err)
	}
	client := program.Options{Env: []string{"TIDEMARK_URL=unix:" + path}}
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)
	if got := tidemark.Must(t, client, "health"); got != "ok\n" {
		t.Errorf("health says %q", got)
	}
	out, err := exec.Command("curl", "-s", "--unix-socket", path, "http://localhost/v1/rooms/lobby/events").CombinedOutput()
	if err != nil || !strings.Contains(string(out), id) {
		t.Errorf("curl: %s %v", out, err)
	}

	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", "unix:"+path, "--data", t.TempDir())
	if code != exitFailed || !strings.Contains(stderr, "another process listens on it") || len(lines(stderr)) != 1 {
		t.Errorf("a second node on the socket: exit code %d\n%s", code, stderr)
	}
	tidemark.Must(t, client, "health") // the first goes on

	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d\n%s", code, s.Stderr)
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// The socket of a node that was killed does not keep the next one from starting; any
// other file does.
func TestSocketLeftBehind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "tidemark.sock")
	tidemark.Serve(t, program.Options{}, "--listen", "unix:"+path, "--data", t.TempDir()).Kill()
	if _, err := os.Lstat(path); err != nil {
		t.Fatal("nothing was left behind: the test tests nothing")
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
