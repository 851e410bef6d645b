package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark/tidemark/bench/result"
)

// Markdown writes the run as it appears in the documentation: a table of all figures,
// one table per group of series, then the machine, the versions and the delivery
// counts.
func Markdown(w io.Writer, r *result.Run) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "\nMeasured on %s; %s. %s\n\n", r.Taken.UTC().Format("2 January 2006"), repetitions(r), summary(r))
	markdownTable(out, rowsOf(r), systems(r))
	for _, g := range gridsOf(r) {
		markdownGrid(out, g)
	}
	fmt.Fprintf(out, "\n- Machine: %s.\n", r.Machine)
	fmt.Fprintf(out, "- Versions: %s.\n", versions(r))
	for _, line := range append(deliveryLines(r), r.Notes...) {
		fmt.Fprintf(out, "- %s\n", line)
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// markdownTable writes a line for each quantity and a column for each system.
func markdownTable(w io.Writer, rows []*row, systems []string) {
	if len(rows) == 0 {
		return
	}
	head := []string{""}
	for _, system := range systems {
		head = append(head, result.SystemName(system))
	}
	cells(w, append(head, "Tidemark is", "target", "result")...)
	fmt.Fprintf(w, "|---|%s---|---|---|\n", strings.Repeat("--:|", len(systems)))
	measure := 0
	for _, row := range rows {
		if row.measure != measure {
			measure = row.measure
			cells(w, append([]string{"**" + title(measure) + "**"}, make([]string, len(systems)+3)...)...)
		}
		markdownRow(w, row, systems)
	}
}

func markdownRow(w io.Writer, r *row, systems []string) {
	line := []string{r.name + ", " + r.unit}
	for _, system := range systems {
		cell := ""
		if f := r.bySystem[system]; f != nil {
			cell = result.Number(f.Median())
		}
		line = append(line, cell)
	}
	var bounds, verdicts []string
	for _, j := range r.checks {
		bounds = append(bounds, j.Target)
		verdicts = append(verdicts, markdownVerdict(j.Verdict))
	}
	const newLine = "<br>"
	cells(w, append(line, strings.Join(r.ratios(), newLine), strings.Join(bounds, newLine), strings.Join(verdicts, newLine))...)
}

// markdownGrid writes a column for each value of X and a line for each series.
func markdownGrid(w io.Writer, g *grid) {
	head := []string{"**" + title(g.measure) + "** with the number of " + g.over}
	for _, x := range xValues(g.series) {
		head = append(head, result.Number(x))
	}
	fmt.Fprintln(w)
	cells(w, append(head, "growth", "at most", "result")...)
	fmt.Fprintf(w, "|---|%s---|\n", strings.Repeat("--:|", len(head)+1))
	for _, s := range g.series {
		line := []string{seriesName(s)}
		for _, x := range xValues(g.series) {
			line = append(line, valueAt(s, x))
		}
		verdict := ""
		if v := s.Verdict(); v != result.NoTarget {
			verdict = markdownVerdict(v)
		}
		cells(w, append(line, growthText(s), maxGrowthText(s), verdict)...)
	}
}

// markdownVerdict makes a missed or undecided target bold.
func markdownVerdict(v result.Verdict) string {
	if v == result.Missed || v == result.Undecided {
		return "**" + string(v) + "**"
	}
	return string(v)
}

// cells writes one line of a table.
func cells(w io.Writer, texts ...string) {
	for _, text := range texts {
		fmt.Fprint(w, "| ", strings.ReplaceAll(text, "|", `\|`), " ")
	}
	fmt.Fprintln(w, "|")
}
