// Package result holds what a run of the benchmarks measured, and judges it.
//
// A run is a list of figures, each one quantity of one system with a value for
// each repetition, and of series, which show how a quantity grows. It is kept as
// JSON, so that a table can be written again without another run.
//
// Nothing here is safe for concurrent use: one goroutine collects a run.
package result

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// The systems that are compared. Floor and Script are no servers: they are what
// the machine and Redis do without one.
const (
	Tidemark = "tidemark"
	Nchan    = "nchan"
	SocketIO = "socket.io"
	Floor    = "floor"  // a bare loop of write(2)
	Script   = "script" // the append script by itself, pipelined
)

// SystemName is a system's name as people write it.
func SystemName(system string) string {
	switch system {
	case Tidemark:
		return "Tidemark"
	case SocketIO:
		return "Socket.IO"
	}
	return system
}

// A Run is all that one start of the benchmarks measured.
type Run struct {
	Taken    time.Time         `json:"taken"`
	Lasted   time.Duration     `json:"lasted_ns"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`        // program or system to version
	Notes    []string          `json:"notes,omitempty"` // what a reader must know, such as a peer that was left out
	Figures  []*Figure         `json:"figures"`
	Series   []*Series         `json:"series,omitempty"`
}

// A Figure is one quantity of one system. Measure, Name and System together name
// it; systems are compared where Measure and Name are the same.
type Figure struct {
	Measure int       `json:"measure"` // 1 to 9
	Name    string    `json:"name"`    // what is measured, such as "until the last has it"
	System  string    `json:"system"`
	Unit    string    `json:"unit"`            // such as "ms", "events/s", "KiB"
	Higher  bool      `json:"higher"`          // more is better
	Reach   []Bound   `json:"reach,omitempty"` // what has to be kept, all of it; of Tidemark's figures alone
	Values  []float64 `json:"values"`          // one for each repetition
	Counts  Counts    `json:"counts"`          // of all repetitions together
}

// Counts say what was delivered while something was measured. What comes faster
// but not whole is no result.
type Counts struct {
	Events     int64 `json:"events"` // delivered and checked
	Missing    int64 `json:"missing"`
	Repeated   int64 `json:"repeated"`
	OutOfOrder int64 `json:"out_of_order"`
}

// Add adds the counts of another part of the work.
func (c *Counts) Add(other Counts) {
	c.Events += other.Events
	c.Missing += other.Missing
	c.Repeated += other.Repeated
	c.OutOfOrder += other.OutOfOrder
}

// Whole reports whether nothing was missing, repeated or out of order.
func (c Counts) Whole() bool { return c.Missing == 0 && c.Repeated == 0 && c.OutOfOrder == 0 }

func (c Counts) String() string {
	count := func(n int64) string { return grouped(strconv.FormatInt(n, 10)) }
	return fmt.Sprintf("%s missing, %s repeated, %s out of order of %s events", count(c.Missing), count(c.Repeated), count(c.OutOfOrder), count(c.Events))
}

// Observe adds the value of one repetition, and what was delivered in it, to the
// figure that f names. The first one brings unit, direction and reach; f's own
// Values and Counts are not looked at.
func (r *Run) Observe(f Figure, value float64, delivered Counts) {
	known := r.Figure(f.Measure, f.Name, f.System)
	if known == nil {
		known = &f
		known.Values, known.Counts = nil, Counts{}
		r.Figures = append(r.Figures, known)
	}
	known.Values = append(known.Values, value)
	known.Counts.Add(delivered)
}

// Figure finds a figure, or returns nil.
func (r *Run) Figure(measure int, name, system string) *Figure {
	for _, f := range r.Figures {
		if f.Measure == measure && f.Name == name && f.System == system {
			return f
		}
	}
	return nil
}

// Median is the middle value, or the mean of the two in the middle; 0 without values.
func (f *Figure) Median() float64 { return median(f.Values) }

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// A Fault is a figure or a series during which events were missing, repeated or
// out of order.
type Fault struct {
	Measure      int
	Name, System string
	Counts       Counts
}

// Faults are those of all systems.
func (r *Run) Faults() []Fault {
	var faults []Fault
	for _, f := range r.Figures {
		if !f.Counts.Whole() {
			faults = append(faults, Fault{f.Measure, f.Name, f.System, f.Counts})
		}
	}
	for _, s := range r.Series {
		if !s.Counts.Whole() {
			faults = append(faults, Fault{s.Measure, s.Name, s.System, s.Counts})
		}
	}
	return faults
}

// Failed is an error if Tidemark itself did not deliver everything once and in
// order: then the run is worth nothing. That a peer did not is shown, and no more.
func (r *Run) Failed() error {
	for _, f := range r.Faults() {
		if f.System == Tidemark {
			return fmt.Errorf("measure %d, %s: %s", f.Measure, f.Name, f.Counts)
		}
	}
	return nil
}

// Write writes the run as JSON.
func (r *Run) Write(path string) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Read reads what Write wrote.
func Read(path string) (*Run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Run)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s is no result of a run: %w", path, err)
	}
	if slices.Contains(r.Figures, nil) || slices.Contains(r.Series, nil) {
		return nil, errors.New(path + " has figures that are null")
	}
	return r, nil
}
