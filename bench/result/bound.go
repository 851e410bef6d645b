package result

import (
	"fmt"
	"strconv"
)

// A Bound is one thing that a figure has to keep: a number by itself, or so many
// times another figure of the same measure and run. Whether it is the least or
// the most follows from the figure's Higher.
type Bound struct {
	Times  float64 `json:"times"`            // the number itself where neither of the two below is given
	Name   string  `json:"name,omitempty"`   // of the other figure; empty: the same name
	System string  `json:"system,omitempty"` // of the other figure; empty: the same system
}

// Limit is a bound by itself, in the figure's unit.
func Limit(value float64) Bound { return Bound{Times: value} }

// TimesOf is so many times what another system comes to in the same figure.
func TimesOf(times float64, system string) Bound { return Bound{Times: times, System: system} }

// AheadOf asks for better than what another system comes to in the same figure.
func AheadOf(system string) Bound { return TimesOf(1, system) }

// TimesFigure is so many times what the same system comes to in another figure
// of the same measure.
func TimesFigure(times float64, name string) Bound { return Bound{Times: times, Name: name} }

func (b Bound) absolute() bool { return b.Name == "" && b.System == "" }

// ahead reports whether being equal is not enough.
func (b Bound) ahead() bool { return !b.absolute() && b.Times == 1 }

// text is the bound in words, for a figure of that direction and unit.
func (b Bound) text(higher bool, unit string) string {
	least := "at most"
	if higher {
		least = "at least"
	}
	switch {
	case b.absolute():
		return fmt.Sprintf("%s %s %s", least, Number(b.Times), unit)
	case b.ahead():
		return "ahead of " + b.other()
	}
	return fmt.Sprintf("%s %s × %s", least, strconv.FormatFloat(b.Times, 'g', -1, 64), b.other())
}

// other names the figure that is compared with.
func (b Bound) other() string {
	switch {
	case b.Name == "":
		return SystemName(b.System)
	case b.System == "":
		return strconv.Quote(b.Name)
	}
	return fmt.Sprintf("%s's %q", SystemName(b.System), b.Name)
}

// A Verdict says whether a reach is reached.
type Verdict string

const (
	Shown   Verdict = "shown" // there is nothing to reach
	Reached Verdict = "reached"
	Missed  Verdict = "missed"
	Unknown Verdict = "not decided" // what it is compared with was not measured
)

// A Judgement is what has become of one bound.
type Judgement struct {
	Bound   string // in words, with its unit
	Verdict Verdict
}

// Judge says of each bound of f whether it is kept by the median. A figure during
// which events were missing, repeated or out of order keeps none.
func (r *Run) Judge(f *Figure) []Judgement {
	var all []Judgement
	for _, b := range f.Reach {
		all = append(all, Judgement{b.text(f.Higher, f.Unit), r.judge(f, b)})
	}
	return all
}

func (r *Run) judge(f *Figure, b Bound) Verdict {
	limit, known := r.limit(f, b)
	switch {
	case !f.Counts.Whole():
		return Missed
	case !known || len(f.Values) == 0:
		return Unknown
	case f.Median() == limit && !b.ahead(), f.Median() != limit && f.Median() > limit == f.Higher:
		return Reached
	}
	return Missed
}

// limit is the bound as a number, if what it is compared with was measured.
func (r *Run) limit(f *Figure, b Bound) (limit float64, known bool) {
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

// Missed counts the bounds and growths that are not kept, or not decided.
func (r *Run) Missed() (missed int) {
	for _, f := range r.Figures {
		for _, j := range r.Judge(f) {
			if j.Verdict != Reached {
				missed++
			}
		}
	}
	for _, s := range r.Series {
		if v := s.Judge(); v == Missed || v == Unknown {
			missed++
		}
	}
	return missed
}

// Limits are the bounds of f as numbers, as far as what they are compared with was
// measured.
func (r *Run) Limits(f *Figure) []float64 {
	var all []float64
	for _, b := range f.Reach {
		if limit, known := r.limit(f, b); known {
			all = append(all, limit)
		}
	}
	return all
}
