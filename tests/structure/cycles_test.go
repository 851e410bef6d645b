package structure

import (
	"fmt"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// maxCycle is the largest number of files that may need each other. Six files can be
// read together; a larger group has no place to start reading.
const maxCycle = 6

// A graph has an edge from each node to the nodes that it needs.
type graph map[string]map[string]bool

func (g graph) add(from, to string) {
	if g[from] == nil {
		g[from] = map[string]bool{}
	}
	g[from][to] = true
}

// No package has a large group of files of which each needs all others, directly or
// through files of the group.
func TestFileCycles(t *testing.T) {
	for _, pkg := range modulePackages(t) {
		if problem := tooLarge(references(pkg)); problem != "" {
			t.Errorf("%s: %s", short(pkg.PkgPath), problem)
		}
	}
}

// references is the graph of the files of a package. A file needs another one if it
// uses a name that the other declares: a function, type, variable, constant, method or
// field.
func references(pkg *packages.Package) graph {
	g := graph{}
	file := func(of interface{ Pos() token.Pos }) string {
		return filepath.Base(pkg.Fset.Position(of.Pos()).Filename)
	}
	for use, object := range pkg.TypesInfo.Uses {
		if object.Pkg() != pkg.Types {
			continue
		}
		if from, to := file(use), file(object); from != to {
			g.add(from, to)
		}
	}
	return g
}

// tooLarge describes the cycles of g that have more than maxCycle nodes, with the edges
// of each; it returns "" if no cycle has.
func tooLarge(g graph) string {
	var text strings.Builder
	for _, cycle := range cycles(g) {
		if len(cycle) <= maxCycle {
			continue
		}
		fmt.Fprintf(&text, "%d files need each other, want at most %d:\n", len(cycle), maxCycle)
		for _, from := range cycle {
			var needs []string
			for _, to := range cycle {
				if g[from][to] {
					needs = append(needs, to)
				}
			}
			fmt.Fprintf(&text, "  %s needs %s\n", from, strings.Join(needs, " "))
		}
	}
	return text.String()
}

// cycles returns the strongly connected components of g that have at least two nodes,
// each sorted, by Tarjan's algorithm.
func cycles(g graph) [][]string {
	c := components{graph: g, index: map[string]int{}, low: map[string]int{}, onStack: map[string]bool{}}
	for _, node := range slices.Sorted(maps.Keys(g)) {
		if c.index[node] == 0 {
			c.connect(node)
		}
	}
	return slices.DeleteFunc(c.found, func(component []string) bool { return len(component) < 2 })
}

// components is the state of Tarjan's algorithm.
type components struct {
	graph   graph
	index   map[string]int // order of the first visit, from 1
	low     map[string]int // smallest index on the stack that can be reached
	stack   []string
	onStack map[string]bool
	found   [][]string
}

func (c *components) connect(node string) {
	c.index[node] = len(c.index) + 1
	c.low[node] = c.index[node]
	c.stack = append(c.stack, node)
	c.onStack[node] = true
	for _, next := range slices.Sorted(maps.Keys(c.graph[node])) {
		if c.index[next] == 0 {
			c.connect(next)
			c.low[node] = min(c.low[node], c.low[next])
		} else if c.onStack[next] {
			c.low[node] = min(c.low[node], c.index[next])
		}
	}
	if c.low[node] != c.index[node] {
		return
	}
	start := slices.Index(c.stack, node)
	component := slices.Sorted(slices.Values(c.stack[start:]))
	c.stack = c.stack[:start]
	for _, member := range component {
		c.onStack[member] = false
	}
	c.found = append(c.found, component)
}
