package doctor

import (
	"cmp"
	"fmt"
	"slices"
)

// Level says how important a finding is.
type Level uint8

// The levels.
const (
	OK      Level = iota + 1 // as it should be
	Note                     // useful to know, or could not be read
	Warning                  // in a rare case, acknowledged events are lost or clients suffer
	Problem                  // events are lost or publishes refused, now or in ordinary operation
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

// A Finding is the result of one check, in words for an operator.
type Finding struct {
	Level  Level  `json:"level"`
	Server string `json:"server,omitempty"` // host:port; "" for Redis as a whole
	About  string `json:"about"`            // the subject; a check uses one for all its levels
	Read   string `json:"read"`             // the value that was read
	Means  string `json:"means,omitempty"`  // its consequence
	Do     string `json:"do,omitempty"`     // the remedy; "" if none is needed
}

// A Report has the findings of Examine, the most important first.
type Report struct {
	Findings []Finding `json:"findings"`
}

// Count returns the number of findings with that level.
func (r Report) Count(l Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l {
			n++
		}
	}
	return n
}

// add adds a finding about Redis as a whole.
func (r *Report) add(l Level, about, read, means, do string) {
	r.Findings = append(r.Findings, Finding{Level: l, About: about, Read: read, Means: means, Do: do})
}

// addFor adds a finding about one server.
func (r *Report) addFor(server string, l Level, about, read, means, do string) {
	r.Findings = append(r.Findings, Finding{l, server, about, read, means, do})
}

// sort orders findings by level, the most important first. Within a level it keeps their
// order.
func (r *Report) sort() {
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return cmp.Compare(b.Level, a.Level) })
}
