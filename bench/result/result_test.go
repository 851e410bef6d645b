package result_test

import (
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/tidemark/tidemark/bench/result"
)

// run has one figure of Tidemark with the reach, and one of nchan to compare it with.
func run(f result.Figure, own, nchans float64) (*result.Run, *result.Figure) {
	r := &result.Run{}
	r.Observe(result.Figure{Name: f.Name, System: result.Nchan, Higher: f.Higher}, nchans, result.Counts{})
	f.System = result.Tidemark
	r.Observe(f, own, result.Counts{})
	return r, r.Figures[1]
}

// A bound is kept on its good side only, and "ahead of" is not "as good as".
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name        string
		higher      bool
		bound       result.Bound
		own, nchans float64
		want        result.Verdict
		text        string
	}{
		{"under a limit", false, result.Limit(7), 6.9, 10, result.Reached, "at most 7 KiB"},
		{"on a limit", false, result.Limit(7), 7, 10, result.Reached, "at most 7 KiB"},
		{"over a limit", false, result.Limit(7), 7.01, 10, result.Missed, "at most 7 KiB"},
		{"over a least limit", true, result.Limit(600_000), 600_001, 10, result.Reached, "at least 600,000 KiB"},
		{"under a least limit", true, result.Limit(600_000), 599_999, 10, result.Missed, "at least 600,000 KiB"},
		{"within times another", false, result.TimesOf(1.15, result.Nchan), 114, 100, result.Reached, "at most 1.15 × nchan"},
		{"beyond times another", false, result.TimesOf(1.15, result.Nchan), 116, 100, result.Missed, "at most 1.15 × nchan"},
		{"twice another", true, result.TimesOf(2, result.Nchan), 200, 100, result.Reached, "at least 2 × nchan"},
		{"not twice another", true, result.TimesOf(2, result.Nchan), 199, 100, result.Missed, "at least 2 × nchan"},
		{"ahead", false, result.AheadOf(result.Nchan), 99, 100, result.Reached, "ahead of nchan"},
		{"as good as", false, result.AheadOf(result.Nchan), 100, 100, result.Missed, "ahead of nchan"},
		{"behind", true, result.AheadOf(result.Nchan), 99, 100, result.Missed, "ahead of nchan"},
		{"of one not measured", true, result.AheadOf(result.SocketIO), 99, 100, result.Unknown, "ahead of Socket.IO"},
		{"of a figure not measured", true, result.TimesFigure(2, "single"), 99, 100, result.Unknown, `at least 2 × "single"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := run(result.Figure{Unit: "KiB", Higher: c.higher, Reach: []result.Bound{c.bound}}, c.own, c.nchans)
			want := []result.Judgement{{Bound: c.text, Verdict: c.want}}
			if got := r.Judge(f); !reflect.DeepEqual(got, want) {
				t.Errorf("Judge = %v, want %v", got, want)
			}
		})
	}
}

// A figure can be compared with another of the same system.
func TestTimesFigure(t *testing.T) {
	r := &result.Run{}
	r.Observe(result.Figure{Measure: 4, Name: "single", System: result.Tidemark}, 100, result.Counts{})
	r.Observe(result.Figure{Measure: 5, Name: "single", System: result.Tidemark}, 1, result.Counts{})
	r.Observe(result.Figure{
		Measure: 4, Name: "batch", System: result.Tidemark, Higher: true, Reach: []result.Bound{result.TimesFigure(2, "single")},
	}, 199, result.Counts{})
	if got := r.Judge(r.Figures[2])[0].Verdict; got != result.Missed {
		t.Errorf("199 is %s at least twice 100", got)
	}
	if r.Missed() != 1 {
		t.Errorf("%d are missed, want 1", r.Missed())
	}
}

// What is fast and not whole has reached nothing.
func TestFaultsReachNothing(t *testing.T) {
	for _, counts := range []result.Counts{{Missing: 1}, {Repeated: 1}, {OutOfOrder: 1}} {
		r, f := run(result.Figure{Higher: true, Reach: []result.Bound{result.Limit(1)}}, 5, 1)
		r.Observe(*f, 5, counts)
		r.Observe(*f, 5, result.Counts{Events: 10})
		if got := r.Judge(f)[0].Verdict; got != result.Missed {
			t.Errorf("with %v it is %s", counts, got)
		}
		if got := r.Faults(); len(got) != 1 || got[0].Counts != f.Counts || r.Failed() == nil {
			t.Errorf("Faults = %v, Failed = %v, want the one figure", got, r.Failed())
		}
	}
}

// A run fails by what Tidemark does, in figures and in series, not by what a peer does.
func TestFailed(t *testing.T) {
	r := &result.Run{}
	lost := result.Counts{Missing: 1}
	r.Observe(result.Figure{System: result.Nchan}, 1, lost)
	r.ObserveAt(result.Series{System: result.SocketIO}, 1, 1, lost)
	if err := r.Failed(); err != nil || len(r.Faults()) != 2 {
		t.Errorf("peers that lose events: %v, faults %v", err, r.Faults())
	}
	r.ObserveAt(result.Series{System: result.Tidemark}, 1, 1, lost)
	if r.Failed() == nil {
		t.Error("Tidemark lost an event, and the run has not failed")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 5}, 5}, {[]float64{1, 9, 2, 3}, 2.5}} {
		if got := (&result.Figure{Values: c.values}).Median(); got != c.want {
			t.Errorf("the median of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

// Points of a series lie in the order of X, however they were measured.
func TestSeries(t *testing.T) {
	s := result.Series{Measure: 9, Name: "one publish", System: result.Tidemark, Over: "rooms", Growth: 1.5}
	r := &result.Run{}
	for _, o := range []struct{ x, value float64 }{{100, 14}, {1, 10}, {10, 50}, {100, 16}, {100, 15}, {1, 10}} {
		r.ObserveAt(s, o.x, o.value, result.Counts{Events: 1})
	}
	got := r.Series[0]
	want := []result.Point{{1, []float64{10, 10}}, {10, []float64{50}}, {100, []float64{14, 16, 15}}}
	if !reflect.DeepEqual(got.Points, want) {
		t.Errorf("Points = %v, want %v", got.Points, want)
	}
	if got.Grown() != 1.5 || got.Judge() != result.Reached || got.Counts.Events != 6 {
		t.Errorf("grown %v times, %s, of %d events", got.Grown(), got.Judge(), got.Counts.Events)
	}
	r.ObserveAt(s, 100, 17, result.Counts{})
	if got.Judge() != result.Missed || r.Missed() != 1 {
		t.Errorf("grown %v times, it is %s, want missed", got.Grown(), got.Judge())
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

// What is written is what is read.
func TestFile(t *testing.T) {
	r, _ := run(result.Figure{Measure: 1, Name: "n", Unit: "ms", Reach: []result.Bound{result.Limit(1), result.AheadOf(result.Nchan)}}, 1, 2)
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
		t.Errorf("read %+v, want %+v", got, r)
	}
}

// The machine is one with a name, cores and memory.
func TestThisMachine(t *testing.T) {
	m := result.ThisMachine()
	if m.Cores < 1 || m.Memory < 1<<20 || m.Kernel == "" {
		t.Errorf("this machine is %+v", m)
	}
}
