package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidemark/tidemark/bench/result"
)

// Terminal writes the run as text: each quantity with the values of all systems,
// followed by its targets.
func Terminal(w io.Writer, r *result.Run) error {
	out := bufio.NewWriter(w)
	measure := 0
	for _, row := range rowsOf(r) {
		if row.measure != measure {
			measure = row.measure
			fmt.Fprintf(out, "\n%s\n", title(measure))
		}
		terminalRow(out, row)
	}
	for _, g := range gridsOf(r) {
		if g.measure != measure {
			measure = g.measure
			fmt.Fprintf(out, "\n%s\n", title(measure))
		}
		terminalGrid(out, g)
	}
	fmt.Fprintf(out, "\n%s\n", r.Machine)
	fmt.Fprintf(out, "%s\n", versions(r))
	fmt.Fprintf(out, "Measured %s in %v; %s.\n", r.Taken.UTC().Format("2006-01-02 15:04 UTC"), r.Lasted.Round(time.Second), repetitions(r))
	for _, line := range append(r.Notes, deliveryLines(r)...) {
		fmt.Fprintln(out, line)
	}
	fmt.Fprintln(out, summary(r))
	return out.Flush()
}

// terminalRow writes a line with the name, a line with the systems, and a line per
// target.
func terminalRow(w io.Writer, r *row) {
	fmt.Fprintf(w, "  %s [%s]\n", r.name, r.unit)
	cells := []string{result.SystemName(result.Tidemark) + " –"}
	if r.own != nil {
		cells[0] = result.SystemName(result.Tidemark) + " " + result.Number(r.own.Median())
	}
	for _, other := range r.others {
		cells = append(cells, result.SystemName(other.System)+" "+result.Number(other.Median()))
	}
	fmt.Fprintf(w, "      %s", strings.Join(cells, "   "))
	if ratios := r.ratios(); len(ratios) > 0 {
		fmt.Fprintf(w, "   = %s", strings.Join(ratios, ", "))
	}
	fmt.Fprintln(w)
	for _, j := range r.checks {
		fmt.Fprintf(w, "      %s: %s\n", j.Target, terminalVerdict(j.Verdict))
	}
}

// terminalGrid writes a column for each value of X and a line for each series.
func terminalGrid(w io.Writer, g *grid) {
	table := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "  %s\t", g.over)
	for _, x := range xValues(g.series) {
		fmt.Fprintf(table, "%s\t", result.Number(x))
	}
	fmt.Fprintln(table, "growth\tat most\tresult")
	for _, s := range g.series {
		fmt.Fprintf(table, "      %s\t", seriesName(s))
		for _, x := range xValues(g.series) {
			fmt.Fprintf(table, "%s\t", valueAt(s, x))
		}
		verdict := ""
		if v := s.Verdict(); v != result.NoTarget {
			verdict = terminalVerdict(v)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", growthText(s), maxGrowthText(s), verdict)
	}
	_ = table.Flush() // w is a bufio.Writer, which keeps its error until it is flushed
}
