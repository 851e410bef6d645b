// Package result holds the results of a benchmark run and compares them with targets.
//
// A run is a list of figures and series. A figure is one quantity of one system, with a
// value per repetition. A series shows how a quantity grows. A run is stored as JSON,
// so its reports can be written again without another run.
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

// The compared systems. BareWrites and Script are not servers: they show what the
// kernel and Redis achieve without one.
const (
	Tidemark   = "tidemark"
	Nchan      = "nchan"
	SocketIO   = "socket.io"
	BareWrites = "floor"  // a bare loop of write(2); results files use the older name
	Script     = "script" // the append script without a server, pipelined
)

// SystemName returns the name of a system for reports.
func SystemName(system string) string {
	switch system {
	case Tidemark:
		return "Tidemark"
	case SocketIO:
		return "Socket.IO"
	case BareWrites:
		return "bare writes"
	}
	return system
}

// A Run holds everything that one run of the benchmarks measured.
type Run struct {
	Taken    time.Time         `json:"taken"`
	Lasted   time.Duration     `json:"lasted_ns"`
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions"`        // by program or system
	Notes    []string          `json:"notes,omitempty"` // for the reader, such as a peer that was left out
	Figures  []*Figure         `json:"figures"`
	Series   []*Series         `json:"series,omitempty"`
}

// A Figure is one quantity of one system. Measure, Name and System identify it. Figures
// of different systems with the same Measure and Name are compared.
type Figure struct {
	Measure int       `json:"measure"` // 1 to 9
	Name    string    `json:"name"`    // the quantity, such as "until the last has the event"
	System  string    `json:"system"`
	Unit    string    `json:"unit"`            // such as "ms", "events/s", "KiB"
	Higher  bool      `json:"higher"`          // higher values are better
	Targets []Target  `json:"reach,omitempty"` // all must be met; only Tidemark's figures have targets
	Values  []float64 `json:"values"`          // one per repetition
	Counts  Counts    `json:"counts"`          // total of all repetitions
}

// Counts holds the delivery counts of a measurement. A fast result with delivery errors
// meets no target.
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

// Clean reports whether no event was missing, repeated or out of order.
func (c Counts) Clean() bool { return c.Missing == 0 && c.Repeated == 0 && c.OutOfOrder == 0 }

func (c Counts) String() string {
	count := func(n int64) string { return grouped(strconv.FormatInt(n, 10)) }
	return fmt.Sprintf("%s missing, %s repeated, %s out of order of %s events", count(c.Missing), count(c.Repeated), count(c.OutOfOrder), count(c.Events))
}

// Observe adds the value and the delivery counts of one repetition to the figure that f
// identifies. The first call sets unit, direction and targets. Values and Counts of f
// are ignored.
func (r *Run) Observe(f Figure, value float64, delivered Counts) {
	existing := r.Figure(f.Measure, f.Name, f.System)
	if existing == nil {
		existing = &f
		existing.Values, existing.Counts = nil, Counts{}
		r.Figures = append(r.Figures, existing)
	}
	existing.Values = append(existing.Values, value)
	existing.Counts.Add(delivered)
}

// Figure returns the figure with these keys, or nil.
func (r *Run) Figure(measure int, name, system string) *Figure {
	for _, f := range r.Figures {
		if f.Measure == measure && f.Name == name && f.System == system {
			return f
		}
	}
	return nil
}

// Median returns the middle value, the mean of the two middle values, or 0 without
// values.
func (f *Figure) Median() float64 { return median(f.Values) }

func median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// A DeliveryError is a figure or series with missing, repeated or out-of-order events.
type DeliveryError struct {
	Measure      int
	Name, System string
	Counts       Counts
}

// DeliveryErrors returns those of all systems.
func (r *Run) DeliveryErrors() []DeliveryError {
	var faults []DeliveryError
	for _, f := range r.Figures {
		if !f.Counts.Clean() {
			faults = append(faults, DeliveryError{f.Measure, f.Name, f.System, f.Counts})
		}
	}
	for _, s := range r.Series {
		if !s.Counts.Clean() {
			faults = append(faults, DeliveryError{s.Measure, s.Name, s.System, s.Counts})
		}
	}
	return faults
}

// Failed returns an error if Tidemark did not deliver every event once and in order,
// because such a run proves nothing. Delivery errors of a peer are reported but are not
// a failure.
func (r *Run) Failed() error {
	for _, f := range r.DeliveryErrors() {
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

// Read reads a file written by Write.
func Read(path string) (*Run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := new(Run)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read %s: not the result of a benchmark run: %w", path, err)
	}
	if slices.Contains(r.Figures, nil) || slices.Contains(r.Series, nil) {
		return nil, errors.New("read " + path + ": a figure or series is null")
	}
	return r, nil
}
