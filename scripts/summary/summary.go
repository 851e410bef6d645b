package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
)

// An event is one line of go test -json: see go doc test2json.
type event struct {
	Action, Package, ImportPath, Test, Output string
}

// A skip is a test that was skipped.
type skip struct {
	test string // package and name
	need string // what it needs, or why it was skipped
	get  string // how to get that; "" if the test does not say
}

// output is a piece of what a test wrote. The package itself writes with the name "".
type output struct{ test, text string }

// A summary counts tests and collects their output. One goroutine uses it.
type summary struct {
	to      io.Writer
	running map[string][]output        // by package, until the package is done
	results map[string]map[string]bool // by package and test: whether its output is of no interest
	ran     int                        // tests, without subtests
	failed  int                        // tests, without subtests
	broken  bool                       // a package failed: a test of it, or its build
	skipped []skip
}

func newSummary(to io.Writer) *summary {
	return &summary{to: to, running: map[string][]output{}, results: map[string]map[string]bool{}}
}

// read handles all events. Lines that are not JSON are printed as they are.
func (s *summary) read(from io.Reader) error {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) == nil && e.Action != "" {
				s.handle(e)
			} else {
				fmt.Fprint(s.to, line)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (s *summary) handle(e event) {
	switch e.Action {
	case "build-output":
		fmt.Fprint(s.to, e.Output)
	case "output":
		s.running[e.Package] = append(s.running[e.Package], output{e.Test, e.Output})
	case "pass", "fail", "skip":
		if e.Test == "" {
			s.endPackage(e)
		} else {
			s.endTest(e)
		}
	}
}

func (s *summary) endTest(e event) {
	if s.results[e.Package] == nil {
		s.results[e.Package] = map[string]bool{}
	}
	s.results[e.Package][e.Test] = e.Action != "fail"
	if e.Action == "skip" {
		s.skipped = append(s.skipped, s.skip(e))
		return
	}
	if !strings.Contains(e.Test, "/") {
		s.ran++
		if e.Action == "fail" {
			s.failed++
		}
	}
}

// need is the message of package require.
var need = regexp.MustCompile(`needs (.*); to get it: (.*)`)

// skip reads the reason from what the test wrote.
func (s *summary) skip(e event) skip {
	var text strings.Builder
	for _, o := range s.running[e.Package] {
		if o.test == e.Test && !strings.HasPrefix(strings.TrimSpace(o.text), "--- SKIP") && !strings.HasPrefix(o.text, "=== ") {
			text.WriteString(o.text)
		}
	}
	result := skip{test: short(e.Package) + " " + e.Test}
	if found := need.FindStringSubmatch(text.String()); found != nil {
		result.need, result.get = found[1]+" is missing", found[2]
	} else {
		reason := strings.Join(strings.Fields(text.String()), " ")
		_, said, _ := strings.Cut(reason, ": ") // after file:line
		result.need = cmp.Or(said, reason, "no reason given")
	}
	return result
}

// endPackage prints the package's line, and what its failures wrote.
func (s *summary) endPackage(e event) {
	if e.Action == "fail" {
		s.broken = true
	}
	for _, o := range s.running[e.Package] {
		switch {
		case strings.HasPrefix(o.text, "=== "), o.text == "PASS\n":
		case e.Action == "fail" && !s.results[e.Package][o.test],
			e.Action == "pass" && o.test == "" && strings.HasPrefix(o.text, "ok  "):
			fmt.Fprint(s.to, o.text)
		}
	}
	delete(s.running, e.Package)
	delete(s.results, e.Package)
}

func (s *summary) printCounts() {
	fmt.Fprintf(s.to, "\n%d tests ran, %d failed, %d were skipped.\n", s.ran, s.failed, len(s.skipped))
}

// printReasons prints how many tests were skipped for each reason.
func (s *summary) printReasons() {
	counts := map[string]int{}
	for _, skip := range s.skipped {
		counts[skip.need]++
	}
	for _, need := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(s.to, "%d skipped: %s\n", counts[need], need)
	}
}

// printSkipped prints the table of skipped tests. how turns a command of scripts/need
// into one for this machine.
func (s *summary) printSkipped(how func(get string) string) {
	if len(s.skipped) == 0 {
		return
	}
	slices.SortStableFunc(s.skipped, func(a, b skip) int {
		return cmp.Or(cmp.Compare(a.need, b.need), cmp.Compare(a.test, b.test))
	})
	table := tabwriter.NewWriter(s.to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\nSKIPPED\tWHY\tHOW TO GET IT\n")
	commands := map[string]string{}
	for _, skip := range s.skipped {
		if _, ok := commands[skip.get]; !ok {
			commands[skip.get] = how(skip.get)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", skip.test, skip.need, commands[skip.get])
	}
	table.Flush()
}

// howToGet asks scripts/need which packages bring a program on this machine.
func howToGet(get string) string {
	program, ok := strings.CutPrefix(get, "scripts/need ")
	if !ok {
		return get
	}
	out, err := exec.Command("scripts/need", "--how", program).Output()
	if err != nil {
		return get
	}
	return strings.TrimSpace(string(out))
}

// short is the package's path inside the module.
func short(pkg string) string { return strings.TrimPrefix(pkg, "github.com/tidemark/tidemark/") }
