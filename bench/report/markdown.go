package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/tidemark/tidemark/bench/result"
)

// Markdown writes the run for the documentation: one table of all figures, one
// for all series over the same thing, and what they were measured on.
func Markdown(w io.Writer, r *result.Run) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "\nTaken on %s, %s. %s\n\n", r.Taken.UTC().Format("2 January 2006"), repetitions(r), summary(r))
	markdownTable(out, rowsOf(r), systems(r))
	for _, g := range gridsOf(r) {
		markdownGrid(out, g)
	}
	fmt.Fprintf(out, "\n- Machine: %s.\n", r.Machine)
	fmt.Fprintf(out, "- Versions: %s.\n", versions(r))
	for _, line := range append(delivered(r), r.Notes...) {
		fmt.Fprintf(out, "- %s\n", line)
	}
	fmt.Fprintln(out)
	return out.Flush()
}

// markdownTable has a line for each quantity and a column for each system.
func markdownTable(w io.Writer, rows []*row, systems []string) {
	if len(rows) == 0 {
		return
	}
	head := []string{""}
	for _, system := range systems {
		head = append(head, result.SystemName(system))
	}
	cells(w, append(head, "Tidemark is", "has to be", "")...)
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
	for _, j := range r.judgements {
		bounds = append(bounds, j.Bound)
		verdicts = append(verdicts, emphasized(j.Verdict))
	}
	const newLine = "<br>"
	cells(w, append(line, strings.Join(r.ratios(), newLine), strings.Join(bounds, newLine), strings.Join(verdicts, newLine))...)
}

// markdownGrid has a column for each place and a line for each series.
func markdownGrid(w io.Writer, g *grid) {
	head := []string{"**" + title(g.measure) + "** with the number of " + g.over}
	for _, x := range places(g.series) {
		head = append(head, result.Number(x))
	}
	fmt.Fprintln(w)
	cells(w, append(head, "last to first", "at most", "")...)
	fmt.Fprintf(w, "|---|%s---|\n", strings.Repeat("--:|", len(head)+1))
	for _, s := range g.series {
		line := []string{seriesName(s)}
		for _, x := range places(g.series) {
			line = append(line, at(s, x))
		}
		verdict := ""
		if v := s.Judge(); v != result.Shown {
			verdict = emphasized(v)
		}
		cells(w, append(line, grown(s), mostGrown(s), verdict)...)
	}
}

// emphasized is a verdict that is not overlooked where it is a bad one.
func emphasized(v result.Verdict) string {
	if v == result.Missed || v == result.Unknown {
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
