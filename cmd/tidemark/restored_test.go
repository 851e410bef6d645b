package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// After a restore from a backup and the command restored, a client whose cursor is not in the
// backup receives a gap notice, even if newer events have been published since.
func TestRestoredLog(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	run := func(events ...string) (last string) {
		t.Helper()
		s := tidemark.Serve(t, program.Options{}, "--data", dir)
		for _, data := range events {
			last = strings.TrimSpace(tidemark.Must(t, at(s), "publish", "lobby", data))
		}
		s.Signal(syscall.SIGTERM)
		s.Wait()
		return last
	}
	run("1", "2")
	backup := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(backup, os.DirFS(dir)))
	cursor := run("3", "4") // the client has 3 and 4

	must(t, os.RemoveAll(dir))
	must(t, os.CopyFS(dir, os.DirFS(backup)))
	tidemark.Must(t, program.Options{}, "restored", "--data", dir)

	s := tidemark.Serve(t, program.Options{}, "--data", dir)
	tidemark.Must(t, at(s), "publish", "lobby", "5")
	tail := tidemark.Start(t, at(s), "tail", "lobby", "--json", "--since", cursor)
	got := tail.Stdout.AwaitLines(t, 2)
	if !strings.Contains(got[0], `"gap"`) || !strings.Contains(got[0], `"reset"`) || !strings.Contains(got[1], `"data":5`) {
		t.Errorf("want a gap notice, reset, then 5:\n%s", strings.Join(got, "\n"))
	}
	if all := tidemark.Must(t, at(s), "history", "lobby", "--json"); len(lines(all)) != 3 {
		t.Errorf("want 1, 2 and 5 in the log:\n%s", all)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// restored changes neither a log in use nor a directory without a log.
func TestRestoredRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tidemark.Serve(t, program.Options{}, "--data", dir)
	for want, args := range map[string][]string{
		"in use by another process": {"--data", dir},
		"/nowhere":                  {"--data", "/nowhere"},
		"there is no log in":        {"--data", t.TempDir()},
		"--redis is not":            {"--redis-ca", "x"},
	} {
		if _, stderr, code := tidemark.Run(t, program.Options{}, append([]string{"restored"}, args...)...); code == exitOK || !strings.Contains(stderr, want) {
			t.Errorf("%s: exit code %d, want %q:\n%s", args, code, want, stderr)
		}
	}
}
