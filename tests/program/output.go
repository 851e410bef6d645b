package program

import (
	"strings"
	"sync"
	"testing"
	"time"
)

// Output collects one output of a process.
type Output struct {
	mu      sync.Mutex // guards the fields below
	text    strings.Builder
	changed chan struct{} // closed at each change, and replaced
	ended   bool
}

func newOutput() *Output { return &Output{changed: make(chan struct{})} }

// Write implements io.Writer for the process.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changedLocked()
	return o.text.Write(b)
}

// end marks the end of the output.
func (o *Output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changedLocked()
}

// changedLocked wakes the goroutines in Await. The caller holds o.mu.
func (o *Output) changedLocked() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// String returns everything written so far.
func (o *Output) String() string {
	text, _, _ := o.state()
	return text
}

func (o *Output) state() (text string, ended bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String(), o.ended, o.changed
}

// Await waits until ok holds for everything written so far, and returns it. what names the
// condition in the failure.
func (o *Output) Await(t testing.TB, what string, ok func(text string) bool) string {
	t.Helper()
	limit := time.After(waitLimit)
	for {
		text, ended, changed := o.state()
		switch {
		case ok(text):
			return text
		case ended:
			t.Fatalf("the process ended before it printed %s:\n%s", what, lastOf(text))
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("still waiting for the process to print %s:\n%s", what, lastOf(text))
		}
	}
}

// AwaitText waits until text has been written.
func (o *Output) AwaitText(t testing.TB, text string) {
	t.Helper()
	o.Await(t, text, func(all string) bool { return strings.Contains(all, text) })
}

// AwaitLines waits until n lines have been written, and returns all lines.
func (o *Output) AwaitLines(t testing.TB, n int) []string {
	t.Helper()
	text := o.Await(t, "enough lines", func(all string) bool { return strings.Count(all, "\n") >= n })
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// lastOf returns the end of text, short enough to read.
func lastOf(text string) string { return text[max(0, len(text)-4096):] }
