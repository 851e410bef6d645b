package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

// These environment variables give a child process its role and its directory.
const (
	childRole = "TIDEMARK_TEST_CHILD"
	childDir  = "TIDEMARK_TEST_DIR"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childRole) {
	case "":
		os.Exit(m.Run())
	case "publish":
		publishForever(os.Getenv(childDir))
	case "open":
		_, err := Open(os.Getenv(childDir), Options{})
		fmt.Println(err)
	}
}

// child returns a command that runs this test program in a role.
func child(t *testing.T, role, dir string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// publishForever appends from several goroutines. It prints a line for each receipt: room,
// key, id and error.
func publishForever(dir string) {
	l, err := Open(dir, Options{SweepEvery: fastSweep})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	var mu sync.Mutex // guards stdout, so that lines are not mixed
	var publishers sync.WaitGroup
	for p := range 8 {
		publishers.Go(func() {
			room := streams.Room(fmt.Sprint("room-", p%3))
			for i := 0; ; i++ {
				d := draft(room, i)
				d.Key = fmt.Sprint(os.Getpid(), "-", p, "-", i)
				d.Retention.Events = 1_000_000
				for _, r := range l.Append(context.Background(), []streams.Draft{d}) {
					mu.Lock()
					fmt.Println(room, d.Key, r.ID, r.Err)
					mu.Unlock()
				}
			}
		})
	}
	publishers.Wait()
}

// An acked event was acknowledged to a child before it was killed.
type acked struct {
	room streams.Room
	id   string
}

// After its process is killed at any moment, the log has every acknowledged event once, in
// one chain per room.
func TestKillKeepsAcknowledgedEvents(t *testing.T) {
	dir := t.TempDir()
	var all []acked
	for round := range 5 {
		all = append(all, killAfter(t, dir, 300+round*777)...)
	}
	l := mustOpen(t, dir, Options{})
	logged := map[acked]int{}
	for _, room := range []streams.Room{"room-0", "room-1", "room-2"} {
		events := mustRead(t, l, room)
		for i, e := range events {
			logged[acked{room, e.ID.String()}]++
			if i > 0 && e.Prev != events[i-1].ID {
				t.Errorf("%s: event %d has Prev %s, want %s", room, i, e.Prev, events[i-1].ID)
			}
		}
	}
	missing, repeated := 0, 0
	for _, a := range all {
		switch n := logged[a]; {
		case n == 0:
			missing++
		case n > 1:
			repeated++
		}
	}
	if missing+repeated > 0 {
		t.Errorf("of %d acknowledged events %d are missing and %d repeated", len(all), missing, repeated)
	}
	t.Logf("%d events acknowledged, %d logged", len(all), len(logged))
}

// killAfter runs a publishing child, kills it after n acknowledged events, and returns all
// events that it printed.
func killAfter(t *testing.T, dir string, n int) (all []acked) {
	t.Helper()
	cmd := child(t, "publish", dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 4 {
			continue // the last line, incomplete because of the kill
		}
		if f[3] != "<nil>" {
			t.Errorf("the child: %s", lines.Text())
		}
		all = append(all, acked{streams.Room(f[0]), f[2]})
		if len(all) == n {
			cmd.Process.Kill() // the loop still reads the rest of the pipe
		}
	}
	cmd.Wait() // returns an error because the child was killed
	if len(all) < n {
		t.Fatalf("the child stopped after %d events", len(all))
	}
	return all
}

// A directory can be opened once at a time, within a process and between processes.
func TestSecondProcessIsLockedOut(t *testing.T) {
	dir := t.TempDir()
	l := mustOpen(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Errorf("open again in this process: %v, want ErrLocked and the directory", err)
	}
	out, err := child(t, "open", dir).Output()
	if err != nil || !strings.Contains(string(out), ErrLocked.Error()) || !strings.Contains(string(out), dir) {
		t.Errorf("open in another process: %q, %v; want ErrLocked and the directory", out, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := child(t, "open", dir).Output(); err != nil || strings.TrimSpace(string(out)) != "<nil>" {
		t.Errorf("open in another process after Close: %q, %v", out, err)
	}
}

// Open rejects another program's database, another format, broken metadata, and a file.
func TestOpenRejectsOtherData(t *testing.T) {
	foreign, future := t.TempDir(), t.TempDir()
	writeTo(t, foreign, "key", "value")
	mustOpen(t, future, Options{}).Close()
	writeTo(t, future, string(metaFormat), "\x02")
	for _, dir := range []string{foreign, future} {
		_, err := Open(dir, Options{})
		if !errors.Is(err, streams.ErrMismatch) || !strings.Contains(err.Error(), dir) {
			t.Errorf("Open: %v, want ErrMismatch and the directory", err)
		}
	}

	broken := t.TempDir()
	mustOpen(t, broken, Options{}).Close()
	writeTo(t, broken, string(metaFloor), "short")
	if _, err := Open(broken, Options{}); !errors.Is(err, errCorrupt) {
		t.Errorf("Open with a broken floor: %v, want errCorrupt", err)
	}

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil || errors.Is(err, ErrLocked) {
		t.Errorf("Open of a file: %v, want an error that is not ErrLocked", err)
	}
}

// writeTo sets a key in the Pebble database in dir.
func writeTo(t *testing.T, dir, key, value string) {
	t.Helper()
	db, err := pebble.Open(dir, &pebble.Options{FS: vfs.Default, FormatMajorVersion: pebbleFormat, Logger: pebbleLogger{&store{log: Options{}.withDefaults().Logger}}})
	if err == nil {
		err = errors.Join(db.Set([]byte(key), []byte(value), pebble.Sync), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
