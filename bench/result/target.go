package result

import (
	"fmt"
	"strconv"
)

// A Target is a value that a figure must reach: a number, or a multiple of another
// figure of the same measure and run. Figure.Higher decides whether it is a minimum or
// a maximum.
type Target struct {
	Times  float64 `json:"times"`            // the number itself if Name and System are empty
	Name   string  `json:"name,omitempty"`   // of the other figure; empty means the same name
	System string  `json:"system,omitempty"` // of the other figure; empty means the same system
}

// Limit is a fixed target in the figure's unit.
func Limit(value float64) Target { return Target{Times: value} }

// TimesOf is a multiple of another system's value for the same figure.
func TimesOf(times float64, system string) Target { return Target{Times: times, System: system} }

// BetterThan requires a better value than another system's for the same figure.
func BetterThan(system string) Target { return TimesOf(1, system) }

// TimesFigure is a multiple of the same system's value for another figure of the same
// measure.
func TimesFigure(times float64, name string) Target { return Target{Times: times, Name: name} }

func (b Target) absolute() bool { return b.Name == "" && b.System == "" }

// strict reports whether an equal value misses the target.
func (b Target) strict() bool { return !b.absolute() && b.Times == 1 }

// text describes the target for a figure of the given direction and unit.
func (b Target) text(higher bool, unit string) string {
	least := "at most"
	if higher {
		least = "at least"
	}
	switch {
	case b.absolute():
		return fmt.Sprintf("%s %s %s", least, Number(b.Times), unit)
	case b.strict():
		return "better than " + b.reference()
	}
	return fmt.Sprintf("%s %s × %s", least, strconv.FormatFloat(b.Times, 'g', -1, 64), b.reference())
}

// reference names the figure that the target refers to.
func (b Target) reference() string {
	switch {
	case b.Name == "":
		return SystemName(b.System)
	case b.System == "":
		return strconv.Quote(b.Name)
	}
	return fmt.Sprintf("%s's %q", SystemName(b.System), b.Name)
}

// A Verdict is the result of comparing a value with a target.
type Verdict string

const (
	NoTarget  Verdict = "no target" // nothing to compare with
	Met       Verdict = "met"
	Missed    Verdict = "missed"
	Undecided Verdict = "not decided" // the other figure was not measured
)

// A Check is the verdict on one target.
type Check struct {
	Target  string // in words, with its unit
	Verdict Verdict
}

// Checks compares the median of f with each of its targets. A figure with delivery
// errors misses all of them.
func (r *Run) Checks(f *Figure) []Check {
	var all []Check
	for _, b := range f.Targets {
		all = append(all, Check{b.text(f.Higher, f.Unit), r.verdict(f, b)})
	}
	return all
}

func (r *Run) verdict(f *Figure, b Target) Verdict {
	limit, known := r.targetValue(f, b)
	switch {
	case !f.Counts.Clean():
		return Missed
	case !known || len(f.Values) == 0:
		return Undecided
	case f.Median() == limit && !b.strict(), f.Median() != limit && f.Median() > limit == f.Higher:
		return Met
	}
	return Missed
}

// targetValue returns the target as a number. known is false if the other figure was
// not measured.
func (r *Run) targetValue(f *Figure, b Target) (limit float64, known bool) {
	if b.absolute() {
		return b.Times, true
	}
	name, system := b.Name, b.System
	if name == "" {
		name = f.Name
	}
	if system == "" {
		system = f.System
	}
	other := r.Figure(f.Measure, name, system)
	if other == nil || len(other.Values) == 0 {
		return 0, false
	}
	return b.Times * other.Median(), true
}

// UnmetTargets counts the targets of figures and series that were missed or not
// decided.
func (r *Run) UnmetTargets() (missed int) {
	for _, f := range r.Figures {
		for _, j := range r.Checks(f) {
			if j.Verdict != Met {
				missed++
			}
		}
	}
	for _, s := range r.Series {
		if v := s.Verdict(); v == Missed || v == Undecided {
			missed++
		}
	}
	return missed
}

// TargetValues returns the targets of f as numbers, without those that refer to a
// figure that was not measured.
func (r *Run) TargetValues(f *Figure) []float64 {
	var all []float64
	for _, b := range f.Targets {
		if limit, known := r.targetValue(f, b); known {
			all = append(all, limit)
		}
	}
	return all
}
