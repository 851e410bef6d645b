package client

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// progressEvery is the minimum interval between changes of the progress line. Faster changes
// would be unreadable.
const progressEvery = 100 * time.Millisecond

// errLines reports that some lines were not published. Each of them has been reported.
var errLines = errors.New("not all lines were published")

// A report prints the results of published lines: ids and errors, or on a terminal a progress
// line instead of the ids.
type report struct {
	std      cli.Stdio
	room     string
	progress bool // show a progress line instead of ids
	start    time.Time
	shown    time.Time // when the progress line last changed
	stored   int
	failed   int
}

func newReport(std cli.Stdio, room string) *report {
	return &report{std: std, room: room, progress: cli.IsTerminal(std.Out) && cli.IsTerminal(std.Err), start: time.Now()}
}

// add reports the events of a batch that are stored or failed permanently.
func (r *report) add(batch []*batchEvent) error {
	for _, e := range batch {
		switch {
		case e.id != "":
			r.stored++
			if !r.progress {
				if _, err := fmt.Fprintln(r.std.Out, e.id); err != nil {
					return err
				}
			}
		case e.err != nil && !temporary(e.err):
			r.failed++
			r.clear()
			fmt.Fprintf(r.std.Err, "tidemark: line %d: %v\n", e.line, e.err)
		}
	}
	if r.progress && time.Since(r.shown) >= progressEvery {
		r.shown = time.Now()
		r.clear()
		fmt.Fprint(r.std.Err, r.summary())
	}
	return nil
}

// summary returns the progress: "12 events published to lobby, 340/s".
func (r *report) summary() string {
	rate := float64(r.stored) / max(time.Since(r.start).Seconds(), 0.001)
	return fmt.Sprintf("%s published to %s, %.0f/s", cli.Plural(r.stored, "event"), r.room, rate)
}

// clear removes the progress line.
func (r *report) clear() {
	if r.progress {
		fmt.Fprint(r.std.Err, "\r\x1b[K")
	}
}

// end leaves the final summary on the terminal.
func (r *report) end() {
	if r.progress {
		r.clear()
		fmt.Fprintln(r.std.Err, r.summary())
	}
}

// result returns an error if a line was not published.
func (r *report) result() error {
	if r.failed > 0 {
		return fmt.Errorf("%w: %d failed", errLines, r.failed)
	}
	return nil
}
