package logtest

import (
	"fmt"
	"strings"
)

// maxExamples is the number of items of each kind that a Difference names.
const maxExamples = 3

// A Difference says how a received sequence differs from the expected one. It counts each
// kind of difference separately, because each breaks another promise.
type Difference struct {
	Want, Got int // lengths

	Missing    int // expected, but not received
	Repeated   int // received again
	OutOfOrder int // received after an item that belongs behind it
	Unexpected int // received, but not expected

	examples []string
}

// Compare compares received items with the expected ones, which must be distinct. T is
// usually an id or its text.
func Compare[T comparable](want, got []T) Difference {
	d := Difference{Want: len(want), Got: len(got)}
	index := make(map[T]int, len(want))
	for i, item := range want {
		index[item] = i
	}
	seen := make([]bool, len(want))
	furthest := -1
	for _, item := range got {
		at, expected := index[item]
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

// OK reports whether exactly the expected items were received, in order.
func (d Difference) OK() bool {
	return d.Missing == 0 && d.Repeated == 0 && d.OutOfOrder == 0 && d.Unexpected == 0
}

// String returns the counts and the first items of each kind.
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
