package recovery

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// The lines of the document between which the tables stand.
const (
	beginMarker = "<!-- The tables are written by bench recovery. -->"
	endMarker   = "<!-- The end of the tables. -->"
)

// markdown returns the tables: a cell per trial and system, and then all numbers.
func (r *Report) markdown(peers []peer) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s with %d clients per trial.\n\n|  |", r.Taken.Format("2 January 2006"), r.Clients)
	for _, p := range peers {
		fmt.Fprintf(&b, " %s |", p.title())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(peers)) + "\n")
	for _, t := range trials {
		fmt.Fprintf(&b, "| %d. %s |", t.number, t.title)
		for _, p := range peers {
			fmt.Fprintf(&b, " %s |", r.cell(t.number, p.name()))
		}
		b.WriteString("\n")
	}
	b.WriteString("\nAll numbers of the same runs:\n\n" +
		"| trial | system | clients | deliveries expected | missing | repeated | out of order | clients with missing events | of these, not told | clients told | publishes repeated |\n" +
		"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, t := range trials {
		for _, p := range peers {
			result, _ := r.find(t.number, p.name())
			for _, g := range result.Groups {
				fmt.Fprintf(&b, "| %s | %s |", strings.TrimSpace(fmt.Sprintf("%d %s", t.number, g.Name)), p.title())
				for _, n := range []int{g.Clients, g.Expected(), g.Missing, g.Repeated, g.OutOfOrder, g.Incomplete, g.Untold, g.Told, result.Retries} {
					fmt.Fprintf(&b, " %s |", thousands(n))
				}
				b.WriteString("\n")
			}
		}
	}
	b.WriteString("\n- Machine: " + r.Machine + ".\n- Versions: ")
	for i, p := range peers {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%s %s", p.title(), r.Versions[p.name()])
	}
	b.WriteString("; redis " + r.Versions["redis"] + "; clients: " + r.Versions["clients"] + ".\n")
	return b.String()
}

// cell returns a result in a few words.
func (r *Report) cell(trial int, system string) string {
	result, ok := r.find(trial, system)
	switch {
	case !ok:
		return "not measured"
	case result.Error != "":
		reason, _, _ := strings.Cut(result.Error, "\n")
		return "not measured: " + reason
	}
	var cells []string
	for _, g := range result.Groups {
		text := g.words()
		if g.Name != "" {
			text = g.Name + ": " + text
		}
		cells = append(cells, text)
	}
	return strings.Join(cells, "<br>")
}

// words returns a count in a few words, such as "312 missing, not told".
func (c Count) words() string {
	if c.Perfect() {
		text := "all " + thousands(c.Expected()) + " delivered"
		if c.Told > 0 {
			text += ", and " + share(c.Told, c.Clients) + " that some may be missing"
		}
		return text
	}
	var parts []string
	if c.Missing > 0 {
		parts = append(parts, thousands(c.Missing)+" of "+thousands(c.Expected())+" missing", share(c.Incomplete-c.Untold, c.Incomplete))
	} else {
		parts = append(parts, "none missing")
	}
	if c.Repeated > 0 {
		parts = append(parts, thousands(c.Repeated)+" repeated")
	}
	if c.OutOfOrder > 0 {
		parts = append(parts, thousands(c.OutOfOrder)+" out of order")
	}
	return strings.Join(parts, ", ")
}

// share says how many of the clients were told.
func share(told, clients int) string {
	switch told {
	case 0:
		return "**not told**"
	case clients:
		return "told"
	}
	return fmt.Sprintf("%d of %d clients told", told, clients)
}

// thousands returns a number with separators.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// writeInto replaces the lines between the markers of a document.
func writeInto(document, tables string) error {
	text, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	begin, end := slices.Index(lines, beginMarker), slices.Index(lines, endMarker)
	if begin < 0 || end < begin {
		return fmt.Errorf("%s lacks the line %q or, after it, the line %q", document, beginMarker, endMarker)
	}
	lines = slices.Replace(lines, begin+1, end, "", strings.TrimSuffix(tables, "\n"), "")
	return os.WriteFile(document, []byte(strings.Join(lines, "\n")), 0o644)
}
