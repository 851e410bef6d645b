package redislog

import (
	"cmp"
	"fmt"
	"slices"
)

// Level says how much a finding matters.
type Level uint8

const (
	OK      Level = iota + 1 // as it should be
	Note                     // worth knowing, or not to be found out
	Warning                  // acknowledged events can be lost, or clients suffer, in a case that comes some day
	Problem                  // events are lost or publishes refused, now or in ordinary running
)

var levels = [...]string{OK: "ok", Note: "note", Warning: "warning", Problem: "problem"}

func (l Level) String() string {
	if int(l) < len(levels) {
		return levels[l]
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// A Finding is one thing that Examine has looked at, in words for an operator.
type Finding struct {
	Level  Level  `json:"level"`
	Server string `json:"server,omitempty"` // host:port; "" for Redis as a whole
	About  string `json:"about"`            // the subject: the same for all levels
	Read   string `json:"read"`             // what was read
	Means  string `json:"means,omitempty"`  // what follows from it
	Do     string `json:"do,omitempty"`     // what to do; "" where there is nothing
}

// A Report is what Examine found, the worst first.
type Report struct {
	Findings []Finding `json:"findings"`
}

func (r *Report) add(findings ...Finding) { r.Findings = append(r.Findings, findings...) }

// sort puts the worst first, and leaves the order else as it is.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
}

// Count returns how many findings have that level.
func (r Report) Count(l Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}
