// Package report shows what a run of the benchmarks came to: as a table for the
// terminal, as one in Markdown, and as plots.
//
// It says of every reach whether it is reached, and hides neither what was missed
// nor what could not be decided.
package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/bench/result"
)

// measures are the names of the measures, from 1 on.
var measures = [...]string{
	1: "Broadcast to one large room",
	2: "Memory of an idle connection",
	3: "Flood of one room",
	4: "Publishing",
	5: "Latency",
	6: "Resume storm",
	7: "Registry",
	8: "Bad lines",
	9: "Growth",
}

// title is a measure's number and name.
func title(measure int) string {
	if measure < 1 || measure >= len(measures) {
		return fmt.Sprintf("%d", measure)
	}
	return fmt.Sprintf("%d. %s", measure, measures[measure])
}

// A row compares the systems in one quantity.
type row struct {
	measure    int
	name, unit string
	own        *result.Figure            // Tidemark's, or nil
	others     []*result.Figure          // in the order of systems
	judgements []result.Judgement        // of Tidemark's
	bySystem   map[string]*result.Figure // all of them
}

// rowsOf are the run's figures, measure by measure, else in the order in which
// they were measured.
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
		r.own, r.judgements = f, run.Judge(f)
		return
	}
	r.others = append(r.others, f)
	slices.SortStableFunc(r.others, func(a, b *result.Figure) int { return bySystem(a.System, b.System) })
}

// higher reports whether more is better.
func (r *row) higher() bool { return r.figures()[0].Higher }

// ratios say what Tidemark's median is of each other one.
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

// ranks puts the systems into an order that is always the same.
var ranks = []string{result.Tidemark, result.Nchan, result.SocketIO, result.Floor, result.Script}

func bySystem(a, b string) int { return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a, b)) }

func rank(system string) int {
	if i := slices.Index(ranks, system); i >= 0 {
		return i
	}
	return len(ranks)
}

// systems are all that the run has figures of.
func systems(r *result.Run) []string {
	seen := make(map[string]bool)
	for _, f := range r.Figures {
		seen[f.System] = true
	}
	return slices.SortedFunc(maps.Keys(seen), bySystem)
}

// A group has the series that are drawn and written together: of one quantity
// over the same thing.
type group struct {
	measure          int
	name, over, unit string
	series           []*result.Series
}

// groupsOf are the run's series, measure by measure.
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

// places are the values of X of all the series, rising.
func places(series []*result.Series) []float64 {
	var all []float64
	for _, s := range series {
		for _, p := range s.Points {
			all = append(all, p.X)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// A grid has the series that stand in one table: of one measure over the same thing.
type grid struct {
	measure int
	over    string
	series  []*result.Series
}

// gridsOf are the run's series, measure by measure.
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

// seriesName says what the series shows, and of which system where that is a peer.
func seriesName(s *result.Series) string {
	name := s.Name + ", " + s.Unit
	if s.System != result.Tidemark {
		name += ", " + result.SystemName(s.System)
	}
	return name
}

// at is the median at x as text, a dash where it was not measured.
func at(s *result.Series, x float64) string {
	for _, p := range s.Points {
		if p.X == x {
			return result.Number(p.Median())
		}
	}
	return "–"
}

// grown says by how much the series grows.
func grown(s *result.Series) string { return fmt.Sprintf("%.2f ×", s.Grown()) }

// mostGrown says by how much it may.
func mostGrown(s *result.Series) string {
	if s.Growth == 0 {
		return ""
	}
	return result.Number(s.Growth) + " ×"
}

// loud is a verdict that is not overlooked where it is a bad one.
func loud(v result.Verdict) string {
	if v == result.Missed || v == result.Unknown {
		return strings.ToUpper(string(v))
	}
	return string(v)
}

// summary says how many reaches there are, and how many are not reached.
func summary(r *result.Run) string {
	all := 0
	for _, f := range r.Figures {
		all += len(f.Reach)
	}
	for _, s := range r.Series {
		if s.Growth > 0 {
			all++
		}
	}
	switch missed := r.Missed(); {
	case all == 0:
		return "Nothing was measured that has anything to reach."
	case missed > 0:
		return fmt.Sprintf("NOT REACHED: %d of %d.", missed, all)
	}
	return fmt.Sprintf("All %d reached.", all)
}

// repetitions says how often things were measured.
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
		return "each measured once"
	case least == most:
		return fmt.Sprintf("each the median of %d", most)
	}
	return fmt.Sprintf("each the median of %d to %d", least, most)
}

// delivered says how whole the deliveries of Tidemark were, and names each figure
// of any system during which they were not.
func delivered(r *result.Run) []string {
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
	for _, f := range r.Faults() {
		lines = append(lines, fmt.Sprintf("NOT WHOLE: %s, %s, %s: %s.", title(f.Measure), f.Name, result.SystemName(f.System), f.Counts))
	}
	return lines
}

// versions are the run's versions on one line. Some programs say their name too.
func versions(r *result.Run) string {
	var all []string
	for _, name := range slices.SortedFunc(maps.Keys(r.Versions), bySystem) {
		all = append(all, result.SystemName(name)+" "+strings.TrimPrefix(r.Versions[name], name+" "))
	}
	return strings.Join(all, "; ")
}
