package result

import "slices"

// A Series shows how a quantity of one system grows with a variable, such as the cost
// of a publish with the number of rooms.
type Series struct {
	Measure   int     `json:"measure"`
	Name      string  `json:"name"` // the quantity, such as "one publish"
	System    string  `json:"system"`
	Over      string  `json:"over"` // the variable, such as "rooms"
	Unit      string  `json:"unit"`
	MaxGrowth float64 `json:"growth,omitempty"` // limit for the last median relative to the first; 0 means no limit
	Points    []Point `json:"points"`           // ordered by X
	Counts    Counts  `json:"counts"`
}

// A Point holds the values of all repetitions at one X of a series.
type Point struct {
	X      float64   `json:"x"`
	Values []float64 `json:"values"`
}

// Median returns the median of the point's values.
func (p Point) Median() float64 { return median(p.Values) }

// ObserveAt adds the value and the delivery counts of one repetition at x to the series
// that s identifies. The first call sets unit and limit. Points and Counts of s are
// ignored.
func (r *Run) ObserveAt(s Series, x, value float64, delivered Counts) {
	existing := r.series(s)
	existing.Counts.Add(delivered)
	at, found := slices.BinarySearchFunc(existing.Points, x, func(p Point, x float64) int {
		switch {
		case p.X < x:
			return -1
		case p.X > x:
			return 1
		}
		return 0
	})
	if !found {
		existing.Points = slices.Insert(existing.Points, at, Point{X: x})
	}
	existing.Points[at].Values = append(existing.Points[at].Values, value)
}

// series returns the series that s identifies and adds it if necessary.
func (r *Run) series(s Series) *Series {
	for _, existing := range r.Series {
		if existing.Measure == s.Measure && existing.Name == s.Name && existing.System == s.System && existing.Over == s.Over {
			return existing
		}
	}
	s.Points, s.Counts = nil, Counts{}
	r.Series = append(r.Series, &s)
	return &s
}

// Growth returns the last median relative to the first, or 0 if there are no points or
// the first median is 0.
func (s *Series) Growth() float64 {
	if len(s.Points) == 0 || s.Points[0].Median() == 0 {
		return 0
	}
	return s.Points[len(s.Points)-1].Median() / s.Points[0].Median()
}

// Verdict compares the growth with its limit.
func (s *Series) Verdict() Verdict {
	switch {
	case s.MaxGrowth == 0:
		return NoTarget
	case len(s.Points) < 2 || s.Growth() == 0:
		return Undecided
	case s.Counts.Clean() && s.Growth() <= s.MaxGrowth:
		return Met
	}
	return Missed
}
