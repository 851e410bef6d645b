package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/bench/measure"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// asBench is set for a process of this test that is to be bench itself.
const asBench = "TIDEMARK_TEST_AS_BENCH"

func TestMain(m *testing.M) {
	if os.Getenv(asBench) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// bench runs this program with arguments.
func bench(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	// The race detector else has each process wait for a second before it ends.
	cmd.Env = append(os.Environ(), asBench+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// built builds Tidemark.
func built(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "tidemark")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "..", "-o", program, "./cmd/tidemark")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return program
}

// smallRun does a small run, with further flags.
func smallRun(t *testing.T, program string, flags ...string) *result.Run {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "bench")
	args := []string{"run", "-small", "-repeat", "1", "-module", "..", "-tidemark", program, "-out", out, "-plots", filepath.Join(dir, "plots")}
	text, err := bench(t, append(args, flags...)...)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	r, err := result.Read(out + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(out + ".md"); err != nil {
		t.Error(err)
	}
	return r
}

func TestSmallRuns(t *testing.T) {
	program := built(t)
	t.Run("EachMeasure", func(t *testing.T) { testEachMeasure(t, program) })
	t.Run("Peers", func(t *testing.T) { testPeers(t, program) })
}

// Every measure can be done, and delivers what was published. How fast that was is
// not looked at.
func testEachMeasure(t *testing.T, program string) {
	r := smallRun(t, program, "-peers=false")
	for _, m := range measure.Measures {
		if !measured(r, m.Number, result.Tidemark) {
			t.Errorf("measure %d has no value of Tidemark", m.Number)
		}
	}
}

// The peers can be followed on each transport, published to and resumed. The other
// measures do with them what these two do.
func testPeers(t *testing.T, program string) {
	r := smallRun(t, program, "-only", "1,6")
	peers := []string{result.SocketIO}
	// Only Debian and its like have a package of nchan.
	if _, err := system.NewNchan().Version(); err == nil {
		peers = append(peers, result.Nchan)
	}
	for _, peer := range peers {
		if !measured(r, 1, peer) || !measured(r, 6, peer) {
			t.Errorf("%s was not measured: %v", peer, r.Notes)
		}
	}
	// Under load a peer may lose events. Here it would be our use of it that loses them.
	for _, f := range r.Faults() {
		t.Errorf("measure %d, %s: %s", f.Measure, f.System, f.Counts)
	}
}

// measured reports whether there is a value of that measure and system.
func measured(r *result.Run, measure int, system string) bool {
	return slices.ContainsFunc(r.Figures, func(f *result.Figure) bool {
		return f.Measure == measure && f.System == system && len(f.Values) > 0
	}) || slices.ContainsFunc(r.Series, func(s *result.Series) bool {
		return s.Measure == measure && s.System == system && len(s.Points) > 0
	})
}

// Whoever mistypes is told what there is.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"no-such-command"}, {"run", "-no-such-flag"}} {
		if out, err := bench(t, args...); err == nil || !strings.Contains(strings.ToLower(out), "usage") {
			t.Errorf("bench %v: %v, %s", args, err, out)
		}
	}
}
