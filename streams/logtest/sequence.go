package logtest

import (
	"fmt"
	"strings"
)

// maxExamples is how many items of each kind a Difference names. It counts all.
const maxExamples = 3

// A Difference says how a received sequence differs from the expected one. The
// kinds are counted apart, since each is a different broken promise.
type Difference struct {
	Want, Got int // lengths

	Missing    int // expected, and never received
	Repeated   int // received again
	OutOfOrder int // received after one that comes later
	Unexpected int // received, and never expected

	examples []string
}

// Compare compares what was received with what was expected. The expected items
// must differ from each other. T is an id, or its text.
func Compare[T comparable](want, got []T) Difference {
	d := Difference{Want: len(want), Got: len(got)}
	place := make(map[T]int, len(want))
	for i, item := range want {
		place[item] = i
	}
	seen := make([]bool, len(want))
	furthest := -1
	for _, item := range got {
		at, expected := place[item]
		switch {
		case !expected:
			d.note(&d.Unexpected, "unexpected", item)
		case seen[at]:
			d.note(&d.Repeated, "repeated", item)
		case at < furthest:
			d.note(&d.OutOfOrder, "out of order", item)
		}
		if expected {
			seen[at] = true
			furthest = max(furthest, at)
		}
	}
	for i, item := range want {
		if !seen[i] {
			d.note(&d.Missing, "missing", item)
		}
	}
	return d
}

// OK reports whether exactly the expected was received, in order.
func (d Difference) OK() bool {
	return d.Missing == 0 && d.Repeated == 0 && d.OutOfOrder == 0 && d.Unexpected == 0
}

// String gives the counts, and the first few items of each kind.
func (d Difference) String() string {
	s := fmt.Sprintf("received %d of %d: %d missing, %d repeated, %d out of order, %d unexpected",
		d.Got, d.Want, d.Missing, d.Repeated, d.OutOfOrder, d.Unexpected)
	if len(d.examples) > 0 {
		s += " (" + strings.Join(d.examples, ", ") + ")"
	}
	return s
}

func (d *Difference) note(count *int, kind string, item any) {
	*count++
	if *count <= maxExamples {
		d.examples = append(d.examples, fmt.Sprintf("%s: %v", kind, item))
	}
}
