package logtest

import (
	"strings"
	"testing"
)

func TestCompareCountsEachKindApart(t *testing.T) {
	tests := map[string]struct {
		want, got                                 string
		missing, repeated, outOfOrder, unexpected int
	}{
		"nothing":               {"", "", 0, 0, 0, 0},
		"the same":              {"abcd", "abcd", 0, 0, 0, 0},
		"a hole":                {"abcd", "abd", 1, 0, 0, 0},
		"a lost tail":           {"abcd", "ab", 2, 0, 0, 0},
		"a repeat":              {"abcd", "abbcd", 0, 1, 0, 0},
		"a replay from before":  {"abcd", "abcabcd", 0, 3, 0, 0},
		"a swap":                {"abcd", "acbd", 0, 0, 1, 0},
		"one late":              {"abcd", "bcda", 0, 0, 1, 0},
		"of something else":     {"abcd", "abxcd", 0, 0, 0, 1},
		"all of them together":  {"abcdef", "abdcxbf", 1, 1, 1, 1},
		"as many as there were": {"abcd", "aabd", 1, 1, 0, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := Compare(strings.Split(tc.want, ""), strings.Split(tc.got, ""))
			if d.Missing != tc.missing || d.Repeated != tc.repeated ||
				d.OutOfOrder != tc.outOfOrder || d.Unexpected != tc.unexpected {
				t.Errorf("Compare(%q, %q) = %s", tc.want, tc.got, d)
			}
			if same := tc.want == tc.got; d.OK() != same {
				t.Errorf("OK() = %v, want %v", d.OK(), same)
			}
		})
	}
}

func TestDifferenceNamesAFewOfEachKind(t *testing.T) {
	d := Compare([]int{1, 2, 3, 4, 5, 6, 7, 8}, nil)
	if d.Missing != 8 {
		t.Errorf("Missing = %d, want 8", d.Missing)
	}
	if s := d.String(); !strings.Contains(s, "missing: 3") || strings.Contains(s, "missing: 4") {
		t.Errorf("String() = %q, want %d examples", s, maxExamples)
	}
}
