package result

import "slices"

// A Series shows how a quantity of one system grows with another, such as the
// time of a publish with the number of rooms.
type Series struct {
	Measure int     `json:"measure"`
	Name    string  `json:"name"` // what is measured, such as "one publish"
	System  string  `json:"system"`
	Over    string  `json:"over"` // what it is measured over, such as "rooms"
	Unit    string  `json:"unit"`
	Growth  float64 `json:"growth,omitempty"` // the last median may be so many times the first; 0: shown only
	Points  []Point `json:"points"`           // X rises
	Counts  Counts  `json:"counts"`
}

// A Point has a value for each repetition at one place of a series.
type Point struct {
	X      float64   `json:"x"`
	Values []float64 `json:"values"`
}

// Median is that of the point's values.
func (p Point) Median() float64 { return median(p.Values) }

// ObserveAt adds the value of one repetition at x, and what was delivered in it,
// to the series that s names. The first one brings unit and growth; s's own
// Points and Counts are not looked at.
func (r *Run) ObserveAt(s Series, x, value float64, delivered Counts) {
	known := r.series(s)
	known.Counts.Add(delivered)
	at, found := slices.BinarySearchFunc(known.Points, x, func(p Point, x float64) int {
		switch {
		case p.X < x:
			return -1
		case p.X > x:
			return 1
		}
		return 0
	})
	if !found {
		known.Points = slices.Insert(known.Points, at, Point{X: x})
	}
	known.Points[at].Values = append(known.Points[at].Values, value)
}

// series finds the series that s names, or adds it.
func (r *Run) series(s Series) *Series {
	for _, known := range r.Series {
		if known.Measure == s.Measure && known.Name == s.Name && known.System == s.System && known.Over == s.Over {
			return known
		}
	}
	s.Points, s.Counts = nil, Counts{}
	r.Series = append(r.Series, &s)
	return &s
}

// Grown is how many times its first median the last one is; 0 without points, or
// where the first is 0.
func (s *Series) Grown() float64 {
	if len(s.Points) == 0 || s.Points[0].Median() == 0 {
		return 0
	}
	return s.Points[len(s.Points)-1].Median() / s.Points[0].Median()
}

// Judge says whether the series grows no more than it may.
func (s *Series) Judge() Verdict {
	switch {
	case s.Growth == 0:
		return Shown
	case len(s.Points) < 2 || s.Grown() == 0:
		return Unknown
	case s.Counts.Whole() && s.Grown() <= s.Growth:
		return Reached
	}
	return Missed
}
