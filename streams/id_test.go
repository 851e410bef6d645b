package streams

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// parts are the components of an id.
type parts struct {
	ms, seq uint64
	p       Partition
}

func (a parts) id() ID { return MakeID(a.ms, a.seq, a.p) }

func drawParts(t *rapid.T, label string) parts {
	return parts{
		ms:  rapid.Uint64Range(0, maxMillis).Draw(t, label+" ms"),
		seq: rapid.Uint64().Draw(t, label+" seq"),
		p:   Partition(rapid.Uint16().Draw(t, label+" partition")),
	}
}

// An id and its text both keep every component.
func TestIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawParts(t, "id")
		id := want.id()
		if got := (parts{id.Millis(), id.Seq(), id.Partition()}); got != want {
			t.Fatalf("MakeID(%v) holds %v", want, got)
		}
		parsed, err := ParseID(id.String())
		if err != nil || parsed != id {
			t.Fatalf("ParseID(%q) = %v, %v", id, parsed, err)
		}
		text, err := json.Marshal(id)
		var back ID
		if err := errors.Join(err, json.Unmarshal(text, &back)); err != nil || back != id {
			t.Fatalf("JSON %s gives %v, %v", text, back, err)
		}
	})
}

// Ids have the same order by bytes, by text, and by milliseconds and sequence.
func TestIDOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawParts(t, "a"), drawParts(t, "b")
		b.p = a.p // ids of two partitions cannot be compared
		if rapid.Bool().Draw(t, "same ms") {
			b.ms = a.ms
		}
		want := cmp.Or(cmp.Compare(a.ms, b.ms), cmp.Compare(a.seq, b.seq))
		x, y := a.id(), b.id()
		if got := x.Compare(y); got != want {
			t.Errorf("Compare = %d, want %d", got, want)
		}
		if got := bytes.Compare(x[:], y[:]); got != want {
			t.Errorf("order of bytes = %d, want %d", got, want)
		}
		if got := cmp.Compare(x.String(), y.String()); got != want {
			t.Errorf("order of text = %d, want %d", got, want)
		}
		if x.Before(y) != (want < 0) {
			t.Errorf("Before = %v, want %v", x.Before(y), want < 0)
		}
		if l := Later(x, y); l.Before(x) || l.Before(y) || l != x && l != y {
			t.Errorf("Later = %s", l)
		}
	})
}

// Next returns the smallest id after an id.
func TestIDNext(t *testing.T) {
	for _, tc := range []struct{ id, next ID }{
		{MakeID(0, 0, 0), MakeID(0, 1, 0)},
		{MakeID(5, 7, 9), MakeID(5, 8, 9)},
		{MakeID(5, math.MaxUint64, 9), MakeID(6, 0, 9)},
	} {
		if got := tc.id.Next(); got != tc.next {
			t.Errorf("Next of %s = %s, want %s", tc.id, got, tc.next)
		}
	}
}

func TestIDAt(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 8_999_999, time.UTC)
	for _, tc := range []struct {
		name string
		t    time.Time
		want ID
	}{
		{"a moment, cut to the millisecond", at, MakeID(uint64(at.UnixMilli()), 0, 3)},
		{"the epoch", time.UnixMilli(0), MakeID(0, 0, 3)},
		{"before the epoch", time.UnixMilli(-1), MakeID(0, 0, 3)},
		{"the zero time", time.Time{}, MakeID(0, 0, 3)},
		{"beyond 48 bits", time.UnixMilli(maxMillis + 1), MakeID(maxMillis, 0, 3)},
	} {
		if got := IDAt(tc.t, 3); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if got := IDAt(at, 3).Time(); !got.Equal(at.Truncate(time.Millisecond)) || got.Location() != time.UTC {
		t.Errorf("Time() = %s, want %s", got, at)
	}
}

func TestIDIsZero(t *testing.T) {
	for id, want := range map[ID]bool{
		{}:               true,
		MakeID(0, 0, 9):  true, // before every event of its partition
		MakeID(0, 1, 0):  false,
		MakeID(1, 0, 0):  false,
		MakeID(1, 1, 15): false,
	} {
		if got := id.IsZero(); got != want {
			t.Errorf("%s: IsZero = %v, want %v", id, got, want)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{
		"", "01KAJ3Q8Z00000000000000000", "01kaj3q8z00000000000000000", "00000000000000000000000000",
		"7ZZZZZZZZZZZZZZZZZZZZZZZZZ", "80000000000000000000000000", // the largest, and one too large
		"01KAJ3Q8Z0000000000000000", "01KAJ3Q8Z000000000000000000", "01KAJ3Q8Z0000000000000000U", "01KAJ3Q8Z00000000000 00000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			if !errors.Is(err, ErrID) {
				t.Errorf("ParseID(%q): %v, want ErrID", s, err)
			}
			return
		}
		if again, err := ParseID(id.String()); err != nil || again != id {
			t.Errorf("ParseID(%q) = %s, which reads as %s, %v", s, id, again, err)
		}
	})
}
