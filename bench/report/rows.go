// Package report shows the results of a benchmark run: as text for the terminal, as
// Markdown tables and as plots.
//
// It reports each target as met, missed or not decided. The summary counts missed and
// undecided targets together.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/bench/result"
)

// measureNames holds the titles of the measures, starting at 1.
var measureNames = [...]string{
	1: "Broadcast to one large room",
	2: "Memory of an idle connection",
	3: "Throughput",
	4: "Publishing",
	5: "Latency",
	6: "Mass reconnect",
	7: "Registry",
	8: "Unstable connections",
	9: "Growth",
}

// title returns the number and name of a measure.
func title(measure int) string {
	if measure < 1 || measure >= len(measureNames) {
		return fmt.Sprintf("%d", measure)
	}
	return fmt.Sprintf("%d. %s", measure, measureNames[measure])
}

// A row compares the systems in one quantity.
type row struct {
	measure    int
	name, unit string
	own        *result.Figure            // Tidemark's, or nil
	others     []*result.Figure          // ordered by rank
	checks     []result.Check            // of Tidemark's figure
	bySystem   map[string]*result.Figure // all figures
}

// rowsOf returns the run's figures as rows, ordered by measure and then by time of
// measurement.
func rowsOf(r *result.Run) []*row {
	var rows []*row
	for _, f := range r.Figures {
		i := slices.IndexFunc(rows, func(r *row) bool { return r.measure == f.Measure && r.name == f.Name })
		if i < 0 {
			i = len(rows)
			rows = append(rows, &row{measure: f.Measure, name: f.Name, unit: f.Unit, bySystem: make(map[string]*result.Figure)})
		}
		rows[i].add(r, f)
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(a.measure, b.measure) })
	return rows
}

func (r *row) add(run *result.Run, f *result.Figure) {
	r.bySystem[f.System] = f
	if f.System == result.Tidemark {
		r.own, r.checks = f, run.Checks(f)
		return
	}
	r.others = append(r.others, f)
	slices.SortStableFunc(r.others, func(a, b *result.Figure) int { return bySystem(a.System, b.System) })
}

// higher reports whether higher values are better.
func (r *row) higher() bool { return r.figures()[0].Higher }

// ratios returns Tidemark's median relative to each other system's.
func (r *row) ratios() []string {
	var all []string
	for _, other := range r.others {
		if r.own == nil || len(r.own.Values) == 0 || other.Median() == 0 {
			continue
		}
		all = append(all, fmt.Sprintf("%.2f × %s", r.own.Median()/other.Median(), result.SystemName(other.System)))
	}
	return all
}

// ranks orders the systems in every report.
var ranks = []string{result.Tidemark, result.Nchan, result.SocketIO, result.BareWrites, result.Script}

func bySystem(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }

func rank(system string) int {
	if i := slices.Index(ranks, system); i >= 0 {
		return i
	}
	return len(ranks)
}

// systems returns the systems that have figures in the run.
func systems(r *result.Run) []string {
	seen := make(map[string]bool)
	for _, f := range r.Figures {
		seen[f.System] = true
	}
	return slices.SortedFunc(maps.Keys(seen), bySystem)
}

// A group holds the series that share a plot: one quantity over the same variable.
type group struct {
	measure          int
	name, over, unit string
	series           []*result.Series
}

// groupsOf returns the run's series as groups, ordered by measure.
func groupsOf(r *result.Run) []*group {
	var groups []*group
	for _, s := range r.Series {
		i := slices.IndexFunc(groups, func(g *group) bool {
			return g.measure == s.Measure && g.name == s.Name && g.over == s.Over
		})
		if i < 0 {
			i = len(groups)
			groups = append(groups, &group{s.Measure, s.Name, s.Over, s.Unit, nil})
		}
		groups[i].series = append(groups[i].series, s)
	}
	slices.SortStableFunc(groups, func(a, b *group) int { return cmp.Compare(a.measure, b.measure) })
	for _, g := range groups {
		slices.SortStableFunc(g.series, func(a, b *result.Series) int { return bySystem(a.System, b.System) })
	}
	return groups
}

// xValues returns the values of X of all series, ascending.
func xValues(series []*result.Series) []float64 {
	var all []float64
	for _, s := range series {
		for _, p := range s.Points {
			all = append(all, p.X)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A grid holds the series that share a table: one measure over the same variable.
type grid struct {
	measure int
	over    string
	series  []*result.Series
}

// gridsOf returns the run's series as grids, ordered by measure.
func gridsOf(r *result.Run) []*grid {
	var grids []*grid
	for _, g := range groupsOf(r) {
		i := slices.IndexFunc(grids, func(t *grid) bool { return t.measure == g.measure && t.over == g.over })
		if i < 0 {
			i = len(grids)
			grids = append(grids, &grid{g.measure, g.over, nil})
		}
		grids[i].series = append(grids[i].series, g.series...)
	}
	return grids
}

// seriesName returns the series' quantity and unit and, for a peer, its name.
func seriesName(s *result.Series) string {
	name := s.Name + ", " + s.Unit
	if s.System != result.Tidemark {
		name += ", " + result.SystemName(s.System)
	}
	return name
}

// valueAt returns the median at x as text, or a dash if it was not measured.
func valueAt(s *result.Series, x float64) string {
	for _, p := range s.Points {
		if p.X == x {
			return result.Number(p.Median())
		}
	}
	return "–"
}

// growthText returns the growth of a series as text.
func growthText(s *result.Series) string { return fmt.Sprintf("%.2f ×", s.Growth()) }

// maxGrowthText returns the allowed growth of a series as text, or "" without a limit.
func maxGrowthText(s *result.Series) string {
	if s.MaxGrowth == 0 {
		return ""
	}
	return result.Number(s.MaxGrowth) + " ×"
}

// terminalVerdict returns a missed or undecided verdict in capitals.
func terminalVerdict(v result.Verdict) string {
	if v == result.Missed || v == result.Undecided {
		return strings.ToUpper(string(v))
	}
	return string(v)
}

// summary returns the number of targets and how many were missed.
func summary(r *result.Run) string {
	all := 0
	for _, f := range r.Figures {
		all += len(f.Targets)
	}
	for _, s := range r.Series {
		if s.MaxGrowth > 0 {
			all++
		}
	}
	switch unmet := r.UnmetTargets(); {
	case all == 0:
		return "No measured value has a target."
	case unmet > 0:
		return fmt.Sprintf("TARGETS NOT MET: %d of %d.", unmet, all)
	}
	return fmt.Sprintf("All %d targets met.", all)
}

// repetitions says how often each value was measured.
func repetitions(r *result.Run) string {
	least, most := 0, 0
	for _, f := range r.Figures {
		n := len(f.Values)
		if least == 0 || n < least {
			least = n
		}
		most = max(most, n)
	}
	switch {
	case most <= 1:
		return "each value was measured once"
	case least == most:
		return fmt.Sprintf("each value is the median of %d repetitions", most)
	}
	return fmt.Sprintf("each value is the median of %d to %d repetitions", least, most)
}

// deliveryLines returns Tidemark's delivery counts, and a line for each figure of any
// system with delivery errors.
func deliveryLines(r *result.Run) []string {
	var own result.Counts
	for _, f := range r.Figures {
		if f.System == result.Tidemark {
			own.Add(f.Counts)
		}
	}
	for _, s := range r.Series {
		if s.System == result.Tidemark {
			own.Add(s.Counts)
		}
	}
	lines := []string{"Delivered by Tidemark: " + own.String() + "."}
	for _, f := range r.DeliveryErrors() {
		lines = append(lines, fmt.Sprintf("DELIVERY ERRORS: %s, %s, %s: %s.", title(f.Measure), f.Name, result.SystemName(f.System), f.Counts))
	}
	return lines
}

// versions returns the run's versions on one line. It removes the name that some
// programs print before their version.
func versions(r *result.Run) string {
	var all []string
	for _, name := range slices.SortedFunc(maps.Keys(r.Versions), bySystem) {
		all = append(all, result.SystemName(name)+" "+strings.TrimPrefix(r.Versions[name], name+" "))
	}
	return strings.Join(all, "; ")
}
