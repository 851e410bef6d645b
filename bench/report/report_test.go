package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/bench/report"
	"github.com/tidemark/tidemark/bench/result"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample is a run with every case that a report shows: met, missed and undecided
// targets, a peer that lost events, and series. The numbers are invented.
func sample() *result.Run {
	r := &result.Run{
		Taken:    time.Date(2025, 11, 22, 12, 34, 56, 0, time.UTC),
		Lasted:   17*time.Minute + 20*time.Second,
		Machine:  result.Machine{CPU: "Fast CPU @ 3 GHz", Cores: 2, Memory: 8 << 30, Kernel: "6.1.0", System: "Some Linux 12"},
		Versions: map[string]string{"go": "1.26", result.Tidemark: "tidemark abc", result.Nchan: "1.3.6", "redis": "7.0.15"},
		Notes:    []string{"Socket.IO was left out of the | measure 8."},
	}
	whole := result.Counts{Events: 1000}
	observe := func(f result.Figure, counts result.Counts, values ...float64) {
		for _, v := range values {
			r.Observe(f, v, counts)
		}
	}
	last := result.Figure{Measure: 1, Name: "10,000 over SSE: until the last has the event", Unit: "ms"}
	of := func(f result.Figure, system string) result.Figure {
		f.System = system
		return f
	}
	observe(of(last, result.BareWrites), whole, 100, 98, 104)
	observe(of(last, result.Nchan), whole, 151, 149, 153)
	last.Targets = []result.Target{result.TimesOf(1.15, result.BareWrites), result.BetterThan(result.Nchan)}
	observe(of(last, result.Tidemark), whole, 121, 119, 120)

	rate := result.Figure{Measure: 3, Name: "1,000 subscribers", Unit: "deliveries/s", Higher: true}
	observe(of(rate, result.SocketIO), whole, 104_321, 104_100, 104_200)
	observe(of(rate, result.Nchan), result.Counts{Events: 900, Missing: 3, Repeated: 2, OutOfOrder: 1}, 190_000, 191_000)
	rate.Targets = []result.Target{result.Limit(600_000)}
	observe(of(rate, result.Tidemark), whole, 654_321, 655_000, 650_000)
	cpu := result.Figure{Measure: 3, Name: "server CPU per delivery", Unit: "µs", Targets: []result.Target{result.Limit(2), result.BetterThan(result.SocketIO)}}
	observe(of(cpu, result.Tidemark), whole, 1.43, 1.41, 1.46)

	for _, p := range []struct{ x, own, peer float64 }{{1, 52, 60}, {100, 53, 61}, {10_000, 52.5, 90}, {100_000, 54, 240}} {
		series := result.Series{Measure: 9, Name: "one publish", Over: "rooms", Unit: "µs"}
		series.System = result.Nchan
		r.ObserveAt(series, p.x, p.peer, whole)
		series.System, series.MaxGrowth = result.Tidemark, 1.2
		r.ObserveAt(series, p.x, p.own, whole)
	}
	commands := result.Series{Measure: 9, Name: "Redis commands per publish", Over: "rooms", Unit: "commands", System: result.Tidemark, MaxGrowth: 1.05}
	r.ObserveAt(commands, 1, 11, whole)
	r.ObserveAt(commands, 100_000, 12, whole)
	for _, x := range []float64{0, 5_000, 10_000} {
		r.ObserveAt(result.Series{Measure: 9, Name: "memory", Over: "connections", Unit: "MiB", System: result.Tidemark}, x, 20+x/200, whole)
	}
	return r
}

// golden compares got with a file in testdata, or rewrites the file with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is\n%s\nwant\n%s", name, got, want)
	}
}

func TestTables(t *testing.T) {
	for name, write := range map[string]func(io.Writer, *result.Run) error{"terminal.txt": report.Terminal, "table.md": report.Markdown} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			if err := write(&got, sample()); err != nil {
				t.Fatal(err)
			}
			golden(t, name, got.Bytes())
		})
	}
}

// The summary alone shows that a target was missed.
func TestMissedTargetIsReported(t *testing.T) {
	r := &result.Run{}
	f := result.Figure{Measure: 1, Name: "n", System: result.Tidemark, Unit: "ms", Targets: []result.Target{result.Limit(10)}}
	r.Observe(f, 9, result.Counts{})
	if got := bothReports(t, r); !strings.Contains(got, "All 1 targets met.") || strings.Contains(strings.ToLower(got), "missed") {
		t.Errorf("a value of 9 with the target \"at most 10\" reports\n%s", got)
	}
	r.Observe(f, 12, result.Counts{})
	r.Observe(f, 11, result.Counts{})
	got := bothReports(t, r)
	for _, want := range []string{"TARGETS NOT MET: 1 of 1.", "at most 10 ms: MISSED", "| **missed** |"} {
		if !strings.Contains(got, want) {
			t.Errorf("a value of 11 with the target \"at most 10\" does not report %q:\n%s", want, got)
		}
	}
}

// Both reports name a figure with delivery errors.
func TestDeliveryErrorIsReported(t *testing.T) {
	r := &result.Run{}
	r.Observe(result.Figure{Measure: 8, Name: "n", System: result.Tidemark, Unit: "ms"}, 1, result.Counts{Events: 9, OutOfOrder: 1})
	got := bothReports(t, r)
	if want := "DELIVERY ERRORS: 8. Unstable connections, n, Tidemark: 0 missing, 0 repeated, 1 out of order of 9 events."; strings.Count(got, want) != 2 {
		t.Errorf("want %q in both reports:\n%s", want, got)
	}
}

// bothReports returns the terminal and the Markdown report of the run.
func bothReports(t *testing.T, r *result.Run) string {
	t.Helper()
	var got strings.Builder
	if err := errors.Join(report.Terminal(&got, r), report.Markdown(&got, r)); err != nil {
		t.Fatal(err)
	}
	return got.String()
}

// Plots of an empty run creates no file. Plots of a full run creates valid XML with the
// numbers, units and systems.
func TestPlots(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plots")
	plots, err := report.Plots(dir, &result.Run{})
	if err != nil || len(plots) > 0 {
		t.Errorf("an empty run: Plots = %v, %v, want none", plots, err)
	}
	plots, err = report.Plots(dir, sample())
	want := []report.Plot{
		{Title: "1. Broadcast to one large room", File: "broadcast.svg"}, {Title: "3. Throughput", File: "throughput.svg"}, {Title: "9. Growth", File: "growth.svg"},
	}
	if err != nil || !slices.Equal(plots, want) {
		t.Fatalf("Plots = %v, %v, want %v", plots, err, want)
	}
	for name, want := range map[string][]string{
		"broadcast.svg":  {"until the last has the event", "ms (less is better)", "Tidemark", "nchan", "bare writes", "120", "151"},
		"throughput.svg": {"deliveries/s (more is better)", "Socket.IO", "654,000", "server CPU", "1.43"},
		"growth.svg":     {"one publish, µs", "rooms", "100,000", "memory, MiB"},
	} {
		text := textOf(t, filepath.Join(dir, name))
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s lacks %q: %s", name, part, text)
			}
		}
	}
}

// Save writes JSON, Markdown and plots, and the JSON reads back as the same run.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	var said strings.Builder
	if err := report.Save(&said, sample(), filepath.Join(dir, "bench"), filepath.Join(dir, "plots")); err != nil {
		t.Fatal(err)
	}
	r, err := result.Read(filepath.Join(dir, "bench.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got := bothReports(t, r); !strings.HasPrefix(got, said.String()) {
		t.Errorf("the saved run reports\n%s\nwant\n%s", got, &said)
	}
	markdown, err := os.ReadFile(filepath.Join(dir, "bench.md"))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "page.md", markdown)
	if files, err := filepath.Glob(filepath.Join(dir, "plots", "*.svg")); err != nil || len(files) != 3 {
		t.Errorf("plots = %v, %v, want 3", files, err)
	}
}

// A run with a figure without values and a series of zeros can be drawn.
func TestPlotWithoutValues(t *testing.T) {
	r := &result.Run{}
	r.Figures = []*result.Figure{{Measure: 1, Name: "n", System: result.Tidemark, Unit: "ms", Targets: []result.Target{result.BetterThan(result.Nchan)}}}
	r.ObserveAt(result.Series{Measure: 9, Name: "s", System: result.Tidemark, Over: "rooms"}, 1, 0, result.Counts{})
	if _, err := report.Plots(t.TempDir(), r); err != nil {
		t.Error(err)
	}
	bothReports(t, r)
}

// textOf returns the text of an SVG file, with a space after each element.
func textOf(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var text strings.Builder
	decoder := xml.NewDecoder(file)
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return text.String()
		}
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if data, ok := token.(xml.CharData); ok {
			text.Write(append(bytes.TrimSpace(data), ' '))
		}
	}
}
