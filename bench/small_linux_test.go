package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/bench/internal/require"
	"github.com/tidemark/tidemark/bench/measure"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// runAsBench is set in the environment of a test process that runs bench itself.
const runAsBench = "TIDEMARK_TEST_AS_BENCH"

func TestMain(m *testing.M) {
	if os.Getenv(runAsBench) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// runBench runs bench in a process with the given arguments.
func runBench(t *testing.T, args ...string) (output string, err error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	// Without this the race detector makes each process wait one second before it
	// exits.
	cmd.Env = append(os.Environ(), runAsBench+"=1", "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// buildTidemark builds Tidemark and returns the path of the program.
func buildTidemark(t *testing.T) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "tidemark")
	build := exec.CommandContext(t.Context(), "go", "build", "-C", "..", "-o", program, "./cmd/tidemark")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return program
}

// smallRun executes "bench run -small" with further flags and returns the result.
func smallRun(t *testing.T, program string, flags ...string) *result.Run {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "bench")
	args := []string{"run", "-small", "-repeat", "1", "-module", "..", "-tidemark", program, "-out", out, "-plots", filepath.Join(dir, "plots")}
	text, err := runBench(t, append(args, flags...)...)
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
	program := buildTidemark(t)
	t.Run("EachMeasure", func(t *testing.T) { testEachMeasure(t, program) })
	t.Run("Peers", func(t *testing.T) { testPeers(t, program) })
}

// Every measure runs and delivers what was published. The measured values are not
// checked.
func testEachMeasure(t *testing.T, program string) {
	r := smallRun(t, program, "-peers=false")
	for _, m := range measure.Measures {
		if !hasValue(r, m.Number, result.Tidemark) {
			t.Errorf("measure %d has no value for Tidemark", m.Number)
		}
	}
}

// Clients can follow the peers on each transport, publish to them and resume. The other
// measures use the peers in the same ways.
func testPeers(t *testing.T, program string) {
	require.Program(t, "node")
	require.Program(t, "npm")
	r := smallRun(t, program, "-only", "1,6")
	peers := []string{result.SocketIO}
	// Only Debian and its derivatives package nchan.
	if _, err := system.NewNchan().Version(); err == nil {
		peers = append(peers, result.Nchan)
	}
	for _, peer := range peers {
		if !hasValue(r, 1, peer) || !hasValue(r, 6, peer) {
			t.Errorf("%s was not measured: %v", peer, r.Notes)
		}
	}
	// Under load a peer may lose events. In this small run a loss would be a mistake in
	// how bench uses the peer.
	for _, f := range r.DeliveryErrors() {
		t.Errorf("measure %d, %s: %s", f.Measure, f.System, f.Counts)
	}
}

// hasValue reports whether the run has a value for the measure and system.
func hasValue(r *result.Run, measure int, system string) bool {
	return slices.ContainsFunc(r.Figures, func(f *result.Figure) bool {
		return f.Measure == measure && f.System == system && len(f.Values) > 0
	}) || slices.ContainsFunc(r.Series, func(s *result.Series) bool {
		return s.Measure == measure && s.System == system && len(s.Points) > 0
	})
}

// Wrong arguments print the usage.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"no-such-command"}, {"run", "-no-such-flag"}} {
		if out, err := runBench(t, args...); err == nil || !strings.Contains(strings.ToLower(out), "usage") {
			t.Errorf("bench %v: error %v, output %q, want an error and the usage", args, err, out)
		}
	}
}
