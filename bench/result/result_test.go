package result_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tidemark/tidemark/bench/result"
)

// run returns a run with one figure of Tidemark and one of nchan, and Tidemark's
// figure.
func run(f result.Figure, own, nchan float64) (*result.Run, *result.Figure) {
	r := &result.Run{}
	r.Observe(result.Figure{Name: f.Name, System: result.Nchan, Higher: f.Higher}, nchan, result.Counts{})
	f.System = result.Tidemark
	r.Observe(f, own, result.Counts{})
	return r, r.Figures[1]
}

// A value meets a target on its good side only. For "better than", an equal value is a
// miss.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		name       string
		higher     bool
		bound      result.Target
		own, nchan float64
		want       result.Verdict
		text       string
	}{
		{"below a maximum", false, result.Limit(7), 6.9, 10, result.Met, "at most 7 KiB"},
		{"equal to a maximum", false, result.Limit(7), 7, 10, result.Met, "at most 7 KiB"},
		{"above a maximum", false, result.Limit(7), 7.01, 10, result.Missed, "at most 7 KiB"},
		{"above a minimum", true, result.Limit(600_000), 600_001, 10, result.Met, "at least 600,000 KiB"},
		{"below a minimum", true, result.Limit(600_000), 599_999, 10, result.Missed, "at least 600,000 KiB"},
		{"below a multiple", false, result.TimesOf(1.15, result.Nchan), 114, 100, result.Met, "at most 1.15 × nchan"},
		{"above a multiple", false, result.TimesOf(1.15, result.Nchan), 116, 100, result.Missed, "at most 1.15 × nchan"},
		{"at a minimum multiple", true, result.TimesOf(2, result.Nchan), 200, 100, result.Met, "at least 2 × nchan"},
		{"below a minimum multiple", true, result.TimesOf(2, result.Nchan), 199, 100, result.Missed, "at least 2 × nchan"},
		{"better than another", false, result.BetterThan(result.Nchan), 99, 100, result.Met, "better than nchan"},
		{"equal to another", false, result.BetterThan(result.Nchan), 100, 100, result.Missed, "better than nchan"},
		{"worse than another", true, result.BetterThan(result.Nchan), 99, 100, result.Missed, "better than nchan"},
		{"of a system without a value", true, result.BetterThan(result.SocketIO), 99, 100, result.Undecided, "better than Socket.IO"},
		{"of a figure without a value", true, result.TimesFigure(2, "single"), 99, 100, result.Undecided, `at least 2 × "single"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := run(result.Figure{Unit: "KiB", Higher: c.higher, Targets: []result.Target{c.bound}}, c.own, c.nchan)
			want := []result.Check{{Target: c.text, Verdict: c.want}}
			if got := r.Checks(f); !reflect.DeepEqual(got, want) {
				t.Errorf("Judge = %v, want %v", got, want)
			}
		})
	}
}

// A target can refer to another figure of the same system.
func TestTimesFigure(t *testing.T) {
	r := &result.Run{}
	r.Observe(result.Figure{Measure: 4, Name: "single", System: result.Tidemark}, 100, result.Counts{})
	r.Observe(result.Figure{Measure: 5, Name: "single", System: result.Tidemark}, 1, result.Counts{})
	r.Observe(result.Figure{
		Measure: 4, Name: "batch", System: result.Tidemark, Higher: true, Targets: []result.Target{result.TimesFigure(2, "single")},
	}, 199, result.Counts{})
	if got := r.Checks(r.Figures[2])[0].Verdict; got != result.Missed {
		t.Errorf("199 with the target \"at least 2 × 100\": verdict %q, want missed", got)
	}
	if r.UnmetTargets() != 1 {
		t.Errorf("UnmetTargets = %d, want 1", r.UnmetTargets())
	}
}

// A figure with delivery errors meets no target.
func TestDeliveryErrorMissesTargets(t *testing.T) {
	for _, counts := range []result.Counts{{Missing: 1}, {Repeated: 1}, {OutOfOrder: 1}} {
		r, f := run(result.Figure{Higher: true, Targets: []result.Target{result.Limit(1)}}, 5, 1)
		r.Observe(*f, 5, counts)
		r.Observe(*f, 5, result.Counts{Events: 10})
		if got := r.Checks(f)[0].Verdict; got != result.Missed {
			t.Errorf("with %v the verdict is %q, want missed", counts, got)
		}
		if got := r.DeliveryErrors(); len(got) != 1 || got[0].Counts != f.Counts || r.Failed() == nil {
			t.Errorf("Faults = %v, Failed = %v, want the one figure and an error", got, r.Failed())
		}
	}
}

// A run fails because of Tidemark's delivery errors, in figures and in series, not
// because of a peer's.
func TestFailed(t *testing.T) {
	r := &result.Run{}
	lost := result.Counts{Missing: 1}
	r.Observe(result.Figure{System: result.Nchan}, 1, lost)
	r.ObserveAt(result.Series{System: result.SocketIO}, 1, 1, lost)
	if err := r.Failed(); err != nil || len(r.DeliveryErrors()) != 2 {
		t.Errorf("only peers lost events: Failed = %v, Faults = %v, want nil and 2 faults", err, r.DeliveryErrors())
	}
	r.ObserveAt(result.Series{System: result.Tidemark}, 1, 1, lost)
	if r.Failed() == nil {
		t.Error("Failed = nil although Tidemark lost an event")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{1, 9, 2, 3}, 2.5}} {
		if got := (&result.Figure{Values: c.values}).Median(); got != c.want {
			t.Errorf("Median of %v = %v, want %v", c.values, got, c.want)
		}
	}
}

// The points of a series are ordered by X, independent of the order of measurement.
func TestSeries(t *testing.T) {
	s := result.Series{Measure: 9, Name: "one publish", System: result.Tidemark, Over: "rooms", MaxGrowth: 1.5}
	r := &result.Run{}
	for _, o := range []struct{ x, value float64 }{{100, 14}, {1, 10}, {10, 50}, {100, 16}, {100, 15}, {1, 10}} {
		r.ObserveAt(s, o.x, o.value, result.Counts{Events: 1})
	}
	got := r.Series[0]
	want := []result.Point{{1, []float64{10, 10}}, {10, []float64{50}}, {100, []float64{14, 16, 15}}}
	if !reflect.DeepEqual(got.Points, want) {
		t.Errorf("Points = %v, want %v", got.Points, want)
	}
	if got.Growth() != 1.5 || got.Verdict() != result.Met || got.Counts.Events != 6 {
		t.Errorf("growth %v, verdict %q, %d events, want 1.5, met and 6", got.Growth(), got.Verdict(), got.Counts.Events)
	}
	r.ObserveAt(s, 100, 17, result.Counts{})
	if got.Verdict() != result.Missed || r.UnmetTargets() != 1 {
		t.Errorf("growth %v, verdict %q, want missed", got.Growth(), got.Verdict())
	}
}

func TestNumber(t *testing.T) {
	for value, want := range map[float64]string{
		0: "0", 0.0042137: "0.00421", 0.66: "0.66", 2: "2", 2.07: "2.07", 9.713: "9.71", 10.26: "10.3", 147.4: "147",
		1234.5: "1,234", 9999.4: "9,999", 302_111: "302,000", 1_234_567: "1,230,000", -1234: "-1,234", 99.96: "100",
	} {
		if got := result.Number(value); got != want {
			t.Errorf("Number(%v) = %s, want %s", value, got, want)
		}
	}
}

// Read returns the run that Write stored.
func TestFile(t *testing.T) {
	r, _ := run(result.Figure{Measure: 1, Name: "n", Unit: "ms", Targets: []result.Target{result.Limit(1), result.BetterThan(result.Nchan)}}, 1, 2)
	r.Taken = time.Date(2025, 11, 22, 12, 0, 0, 0, time.UTC)
	r.Versions = map[string]string{result.Nchan: "1.3.6"}
	r.ObserveAt(result.Series{Name: "s", Over: "rooms"}, 1, 2, result.Counts{Events: 3})
	path := filepath.Join(t.TempDir(), "bench.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	got, err := result.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, r) {
		t.Errorf("Read = %+v, want %+v", got, r)
	}
}

// ThisMachine finds the cores, the memory and the kernel.
func TestThisMachine(t *testing.T) {
	m := result.ThisMachine()
	if m.Cores < 1 || m.Memory < 1<<20 || m.Kernel == "" {
		t.Errorf("ThisMachine = %+v, want cores, memory and kernel", m)
	}
}
