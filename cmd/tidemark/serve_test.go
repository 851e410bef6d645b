package main

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// Without authentication, an address other than loopback needs --insecure.
func TestOnlyLoopback(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:0"} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", addr, "--data", t.TempDir())
		if code != exitUsage || !strings.Contains(stderr, "--insecure") || !strings.Contains(stderr, "clients need no token") {
			t.Errorf("%s: exit code %d, want %d and the reason:\n%s", addr, code, exitUsage, stderr)
		}
	}
	for _, args := range [][]string{{"--listen=localhost:0"}, {"--listen=0.0.0.0:0", "--insecure"}} {
		tidemark.Serve(t, program.Options{}, append(args, "--data", t.TempDir())...).Kill()
	}
}

// A second server on one directory fails with one line and does not disturb the first.
func TestDoubleStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := tidemark.Serve(t, program.Options{}, "--data", dir)
	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", dir)
	if code != exitFailed || !strings.Contains(stderr, "in use by another process") || !strings.Contains(stderr, dir) || len(lines(stderr)) != 1 {
		t.Errorf("exit code %d, want %d and one line that names %s:\n%s", code, exitFailed, dir, stderr)
	}
	tidemark.Must(t, at(first), "publish", "lobby", "1")
}

// A port that is in use is an error of one line.
func TestPortTaken(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen", s.Addr, "--data", t.TempDir())
	if code != exitFailed || !strings.Contains(stderr, "address already in use") || len(lines(stderr)) != 1 {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}

// A server with clients exits with 0 after SIGTERM and disconnects them. Acknowledged events
// are in the log after a restart.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := tidemark.Serve(t, program.Options{}, "--data", dir)
	client := at(s)
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != exitOK {
		t.Errorf("exit code %d, want %d\n%s", code, exitOK, s.Stderr)
	}
	tail.Stderr.AwaitText(t, "connection lost")
	again := tidemark.Serve(t, program.Options{}, "--data", dir, "--listen", s.Addr)
	if got := tidemark.Must(t, at(again), "history", "lobby", "--json"); !strings.Contains(got, id) {
		t.Errorf("history does not have %s: %q", id, got)
	}
	again.Signal(syscall.SIGINT)
	if code := again.Wait(); code != exitOK {
		t.Errorf("exit code %d after Ctrl-C, want %d", code, exitOK)
	}
}

// Every log line is JSON if standard error is not a terminal.
func TestLogsAreJSON(t *testing.T) {
	t.Parallel()
	s := tidemark.Start(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir(), "--node=n1")
	s.Stderr.AwaitText(t, `"msg":"listening"`)
	s.Signal(syscall.SIGTERM)
	s.Wait()
	if out := s.Stdout.String(); out != "" {
		t.Errorf("standard output has %q", out)
	}
	for _, line := range lines(s.Stderr.String()) {
		var entry struct{ Node, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Node != "n1" {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// With text logs, serve prints three example requests with its real address.
func TestFirstSteps(t *testing.T) {
	t.Parallel()
	s := tidemark.Start(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir(), "--log-format=text")
	steps := s.Stdout.Await(t, "the first steps", func(text string) bool { return strings.Contains(text, "To resume") })
	for _, want := range []string{"publish   curl ", "follow    curl -N", "resume    curl -N", "Last-Event-ID", "http://127.0.0.1:"} {
		if !strings.Contains(steps, want) {
			t.Errorf("no %q in\n%s", want, steps)
		}
	}
	if strings.Contains(steps, "127.0.0.1:0/") {
		t.Errorf("the address is not the real address:\n%s", steps)
	}
}

// Package api answers a header that is up to half longer than allowed, with a problem document.
// Beyond that, net/http answers with plain text.
func TestLongHeader(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	r, err := http.NewRequest(http.MethodGet, s.URL()+"/v1/rooms/lobby/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Last-Event-ID", strings.Repeat("0", 80<<10))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("answer %s, %s", res.Status, res.Header.Get("Content-Type"))
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	for _, args := range [][]string{{"health"}, {"health", "--live"}} {
		if got := tidemark.Must(t, at(s), args...); got != "ok\n" {
			t.Errorf("%v printed %q", args, got)
		}
	}
	// A node that waits for Redis is live and not ready.
	waiting := tidemark.Serve(t, program.Options{}, "--redis", "unix://"+t.TempDir()+"/nobody.sock")
	tidemark.Must(t, at(waiting), "health", "--live")
	if _, stderr, code := tidemark.Run(t, at(waiting), "health"); code != exitFailed || !strings.Contains(stderr, "log-unavailable") {
		t.Errorf("exit code %d, want %d and the reason:\n%s", code, exitFailed, stderr)
	}
}

// A data directory that can't be made is an error of one line.
func TestBadDataDirectory(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", file+"/data")
	if code != exitFailed || !strings.Contains(stderr, file) || len(lines(stderr)) != 1 {
		t.Errorf("exit code %d:\n%s", code, stderr)
	}
}
