//go:build linux

package edge

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
)

// leakReport ends the server and returns a report on what it still holds: its goroutines by
// state and by the function that started them, and its connections by TCP state.
func (s *server) leakReport() string {
	connections := s.states()
	s.Signal(syscall.SIGQUIT) // on which the runtime prints all goroutines
	s.Wait()
	_, dump, _ := strings.Cut(s.Stderr.String(), "SIGQUIT")
	return "connections by TCP's state: " + listed(connections) + "\ngoroutines: " + listed(goroutines(dump))
}

// goroutines counts the goroutines of a dump by state and by the function that started them.
func goroutines(dump string) map[string]int {
	counts := make(map[string]int)
	for text := range strings.SplitSeq(dump, "\n\n") {
		_, state, ok := strings.Cut(text, " [")
		if !ok || !strings.HasPrefix(text, "goroutine ") {
			continue
		}
		state, _, _ = strings.Cut(state, "]")
		state, _, _ = strings.Cut(state, ",") // removes the time
		_, by, _ := strings.Cut(text, "created by ")
		by, _, _ = strings.Cut(by, " in goroutine")
		counts[state+", created by "+by]++
	}
	return counts
}

// states counts the server's connections by the number of their TCP state. See proc_net_tcp
// in the kernel's documentation, and include/net/tcp_states.h.
func (s *server) states() map[string]int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", s.PID()))
	if err != nil {
		return map[string]int{err.Error(): 1}
	}
	_, port, _ := strings.Cut(s.Addr, ":")
	counts := make(map[string]int)
	for row := range strings.Lines(string(text)) {
		if fields := strings.Fields(row); len(fields) > 5 && strings.HasSuffix(address(fields[1]), ":"+port) {
			counts[fields[3]+" timer "+fields[5][:2]]++
		}
	}
	return counts
}

func listed(counts map[string]int) string {
	type line struct {
		what  string
		times int
	}
	var lines []line
	for what, times := range counts {
		lines = append(lines, line{what, times})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(b.times-a.times, strings.Compare(a.what, b.what)) })
	var text strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&text, "\n  %d %s", l.times, l.what)
	}
	return text.String()
}
