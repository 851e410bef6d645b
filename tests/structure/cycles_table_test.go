package structure

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// parse reads a graph from edges such as "a>b b>c".
func parse(edges string) graph {
	g := graph{}
	for edge := range strings.FieldsSeq(edges) {
		from, to, _ := strings.Cut(edge, ">")
		g.add(from, to)
	}
	return g
}

func TestCycles(t *testing.T) {
	for name, c := range map[string]struct {
		edges string
		want  string
	}{
		"empty":                         {"", "[]"},
		"a chain":                       {"a>b b>c", "[]"},
		"a tree":                        {"a>b a>c b>d c>d", "[]"},
		"a pair":                        {"a>b b>a", "[[a b]]"},
		"a ring":                        {"a>b b>c c>a", "[[a b c]]"},
		"a ring with a way in and out":  {"x>a a>b b>a b>y", "[[a b]]"},
		"two rings":                     {"a>b b>a c>d d>c", "[[a b] [c d]]"},
		"two rings, one needs another":  {"a>b b>a b>c c>d d>c", "[[c d] [a b]]"},
		"two rings that share a node":   {"a>b b>a b>c c>b", "[[a b c]]"},
		"a ring that closes late":       {"a>b b>c c>d d>b d>a", "[[a b c d]]"},
		"a cross edge to a done ring":   {"a>b b>a c>a c>d d>c", "[[a b] [c d]]"},
		"a node that needs itself only": {"a>a", "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			got := cycles(parse(c.edges))
			if len(got) == 0 {
				got = [][]string{}
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("cycles of %s: %v, want %s", c.edges, got, c.want)
			}
		})
	}
}

// ring is a cycle of n files.
func ring(n int) graph {
	g := graph{}
	for i := range n {
		g.add(fmt.Sprintf("f%d.go", i), fmt.Sprintf("f%d.go", (i+1)%n))
	}
	return g
}

func TestTooLargeNamesTheFiles(t *testing.T) {
	if got := tooLarge(ring(maxCycle)); got != "" {
		t.Errorf("a cycle of %d files: %q, want no problem", maxCycle, got)
	}
	got := tooLarge(ring(maxCycle + 1))
	for i := range maxCycle + 1 {
		if line := fmt.Sprintf("f%d.go needs f%d.go", i, (i+1)%(maxCycle+1)); !strings.Contains(got, line) {
			t.Errorf("the problem lacks %q:\n%s", line, got)
		}
	}
	if !slices.Contains(strings.Fields(got), "7") {
		t.Errorf("the problem does not say how many files:\n%s", got)
	}
}
