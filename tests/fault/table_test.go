package fault_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// A result is one row of the table: the outcome of a run.
type result struct {
	Run      string
	Own      bool // it has its own column
	Shape    string
	Seed     uint64
	Nodes    int
	Lasted   seconds
	Failures int // 1 if any error was found

	Published, Acknowledged       int64
	Delivered                     int64 // and compared with the published events
	Missing, Repeated, OutOfOrder int64
	Unexpected                    int64 // neither in the log nor acknowledged
	Lost, StoredTwice             int64 // acknowledged and not in the log; twice in the log
	Owed, Unowed                  int64 // gap notices
	Connects, Resumes, Repeats    int64
	Silence, Lag, Back, Tail      seconds // the longest; 0 if it was not measured
	Faults                        map[string]int
	Held                          *hold // of a run that holds a load
}

// seconds is a duration that is written as a number of seconds.
type seconds float64

func secondsOf(d time.Duration) seconds { return seconds(d.Seconds()) }

func (s seconds) String() string {
	if s == 0 {
		return "–" // not measured
	}
	return fmt.Sprintf("%.1f s", float64(s))
}

// results are the results of this run of the tests. It is a package variable because
// TestMain writes them when the tests have ended.
var results table

// A table collects the results of runs.
type table struct {
	mu   sync.Mutex // guards the field below
	rows []result
}

func (t *table) add(r result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, r)
}

// conclude adds a row for the system's run, and fails the test if any error was counted.
func (w *system) conclude() {
	w.t.Helper()
	c := &w.counts
	w.mu.Lock()
	faults := maps.Clone(w.injected)
	w.mu.Unlock()
	r := result{
		Run: w.name, Own: w.own, Shape: w.log.topology(), Seed: w.seed, Nodes: len(w.nodes), Lasted: secondsOf(w.now()),
		Published: c.published.Load(), Acknowledged: c.acknowledged.Load(), Delivered: c.delivered.Load(),
		Missing: c.missing.Load(), Repeated: c.repeated.Load(), OutOfOrder: c.outOfOrder.Load(),
		Unexpected: c.unexpected.Load(), Lost: c.lost.Load(), StoredTwice: c.storedTwice.Load(),
		Owed: c.owed.Load(), Unowed: c.unowed.Load(),
		Connects: c.connects.Load(), Resumes: c.resumes.Load(), Repeats: c.repeats.Load(),
		Silence: secondsOf(time.Duration(c.silence.Load())), Lag: secondsOf(time.Duration(c.lag.Load())),
		Back: secondsOf(time.Duration(c.back.Load())), Tail: secondsOf(time.Duration(c.tail.Load())), Faults: faults, Held: w.held,
	}
	wrong := r.Missing + r.Repeated + r.OutOfOrder + r.Unexpected + r.StoredTwice + r.Unowed
	if wrong > 0 || w.t.Failed() {
		r.Failures = 1
	}
	results.add(r)
	if wrong > 0 {
		w.t.Errorf("%d missing, %d repeated, %d out of order, %d unexpected, %d stored twice, %d unowed notices",
			r.Missing, r.Repeated, r.OutOfOrder, r.Unexpected, r.StoredTwice, r.Unowed)
	}
	w.t.Logf("%d published, %d delivered and compared in %v: %.0f/s", r.Published, r.Delivered, r.Lasted, float64(r.Delivered)/float64(r.Lasted))
}

// publish prints the table, and writes it to the files that the flags name.
func (t *table) publish() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.rows) == 0 {
		return nil
	}
	text := t.markdown()
	fmt.Print(text)
	if n := t.sum(func(r result) int64 { return r.Delivered }); n < *least {
		return fmt.Errorf("%s deliveries were compared, want %s at least", grouped(n), grouped(*least))
	}
	if *reportTo == "" {
		return nil
	}
	rows, err := json.MarshalIndent(t.rows, "", "  ")
	return errors.Join(err,
		os.WriteFile(*reportTo+".json", append(rows, '\n'), 0o644),
		os.WriteFile(*reportTo+".md", []byte(text), 0o644))
}

// A property is one line of the table: one value of each run.
type property struct {
	name  string
	value func(r result) string
}

func number(of func(r result) int64) func(result) string {
	return func(r result) string { return grouped(of(r)) }
}

// grouped formats a number as 12,345.
func grouped(n int64) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

var properties = []property{
	{"nodes", func(r result) string { return itoa(r.Nodes) }},
	{"lasted", func(r result) string { return r.Lasted.String() }},
	{"published", number(func(r result) int64 { return r.Published })},
	{"acknowledged", number(func(r result) int64 { return r.Acknowledged })},
	{"delivered and compared", number(func(r result) int64 { return r.Delivered })},
	{"**missing**", number(func(r result) int64 { return r.Missing })},
	{"**repeated**", number(func(r result) int64 { return r.Repeated })},
	{"**out of order**", number(func(r result) int64 { return r.OutOfOrder })},
	{"delivered and never logged", number(func(r result) int64 { return r.Unexpected })},
	{"stored twice", number(func(r result) int64 { return r.StoredTwice })},
	{"gap notices, owed", number(func(r result) int64 { return r.Owed })},
	{"**gap notices, not owed**", number(func(r result) int64 { return r.Unowed })},
	{"acknowledged, then lost by Redis", number(func(r result) int64 { return r.Lost })},
	{"connections", number(func(r result) int64 { return r.Connects })},
	{"of these, resumed", number(func(r result) int64 { return r.Resumes })},
	{"longest silence of a connection", func(r result) string { return r.Silence.String() }},
	{"longest way to a live connection", func(r result) string { return r.Lag.String() }},
	{"live again after Redis's return, at most", func(r result) string { return r.Back.String() }},
	{"last event of a quiet room after its loss, at most", func(r result) string { return r.Tail.String() }},
	{"connections at once", held(func(h *hold) string { return grouped(int64(h.Connections)) })},
	{"published a second", held(func(h *hold) string { return grouped(int64(h.Rate)) })},
	{"memory after the first minute, resident", held(func(h *hold) string { return megabytes(h.First.Resident) })},
	{"the same at the end", held(func(h *hold) string { return megabytes(h.Last.Resident) })},
	{"heap after the first minute", held(func(h *hold) string { return megabytes(h.First.Heap) })},
	{"the same at the end", held(func(h *hold) string { return megabytes(h.Last.Heap) })},
	{"faults injected", func(r result) string { return itoa(r.total()) }},
}

// held returns the value of a run that holds a load.
func held(of func(*hold) string) func(result) string {
	return func(r result) string {
		if r.Held == nil {
			return "–"
		}
		return of(r.Held)
	}
}

func (r result) total() (n int) {
	for _, times := range r.Faults {
		n += times
	}
	return n
}

// columns returns the runs with their own columns, and all others as one.
func (t *table) columns() []result {
	var columns []result
	others := result{Run: "named scenarios", Shape: "each its own"}
	for _, r := range t.rows {
		if r.Own {
			columns = append(columns, r)
			continue
		}
		others.merge(r)
	}
	if others.Lasted > 0 {
		columns = append(columns, others)
	}
	return columns
}

// merge adds another run: it sums counts and keeps the longest durations.
func (r *result) merge(other result) {
	r.Nodes = max(r.Nodes, other.Nodes)
	r.Lasted += other.Lasted
	for _, n := range []struct{ to, from *int64 }{
		{&r.Published, &other.Published}, {&r.Acknowledged, &other.Acknowledged}, {&r.Delivered, &other.Delivered},
		{&r.Missing, &other.Missing}, {&r.Repeated, &other.Repeated}, {&r.OutOfOrder, &other.OutOfOrder},
		{&r.Unexpected, &other.Unexpected}, {&r.Lost, &other.Lost}, {&r.StoredTwice, &other.StoredTwice},
		{&r.Owed, &other.Owed}, {&r.Unowed, &other.Unowed},
		{&r.Connects, &other.Connects}, {&r.Resumes, &other.Resumes}, {&r.Repeats, &other.Repeats},
	} {
		*n.to += *n.from
	}
	r.Silence, r.Lag = max(r.Silence, other.Silence), max(r.Lag, other.Lag)
	r.Back, r.Tail = max(r.Back, other.Back), max(r.Tail, other.Tail)
	faults := maps.Clone(other.Faults)
	for name, n := range r.Faults {
		faults[name] += n
	}
	r.Faults = faults
}

// markdown returns the table, with a column for each run, and the faults below it.
func (t *table) markdown() string {
	columns := t.columns()
	var b strings.Builder
	cells := func(first string, of func(r result) string) {
		b.WriteString("| " + first)
		for _, r := range columns {
			b.WriteString(" | " + of(r))
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n")
	cells("", func(r result) string { return r.Run })
	b.WriteString("|---" + strings.Repeat("|--:", len(columns)) + "|\n")
	for _, p := range properties {
		cells(p.name, p.value)
	}
	fmt.Fprintf(&b, "\nAll runs together: %s deliveries compared. Seed %d.\n", grouped(t.sum(func(r result) int64 { return r.Delivered })), *seed)
	b.WriteString("\n| fault" + strings.Repeat(" | ", 1) + "times |\n|---|--:|\n")
	for _, f := range t.faults() {
		fmt.Fprintf(&b, "| %s | %d |\n", f.name, f.times)
	}
	return b.String() + "\n"
}

func (t *table) sum(of func(r result) int64) (n int64) {
	for _, r := range t.rows {
		n += of(r)
	}
	return n
}

type times struct {
	name  string
	times int
}

// faults returns the faults of all runs by name.
func (t *table) faults() []times {
	all := make(map[string]int)
	for _, r := range t.rows {
		for name, n := range r.Faults {
			all[name] += n
		}
	}
	var sorted []times
	for name, n := range all {
		sorted = append(sorted, times{name, n})
	}
	slices.SortFunc(sorted, func(a, b times) int { return cmp.Compare(a.name, b.name) })
	return sorted
}
