package replay

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A parsed cursor prints as the same text, in upper case. Moving it changes one partition
// and no other.
func FuzzCursor(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCursor(text)
		if err != nil {
			return
		}
		if got := c.String(); got != strings.ToUpper(text) || len(got) > MaxCursor {
			t.Fatalf("%q prints as %q", text, got)
		}
		for _, id := range c.ids {
			moved := c.With(id.Next())
			if moved.Position(id.Partition()) != id.Next() || c.Position(id.Partition()) != id {
				t.Errorf("%q moved to %s is %q", text, id.Next(), moved)
			}
			if back := moved.With(id); back.String() != c.String() {
				t.Errorf("%q moved and back is %q", text, back)
			}
		}
	})
}

// Any text of a client gives a start that can be located in every partition. A cursor gives
// the same start as since parameter and as Last-Event-ID.
func FuzzStart(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		now := time.Unix(1<<31, 0)
		start := ParseSince(text, now)
		if _, err := ParseCursor(text); err == nil {
			if same := ParseLastEventID(text); same.String() != start.String() {
				t.Errorf("%q is %s, but as a last event id %s", text, start, same)
			}
		}
		if start.kind == fromTime && strings.HasPrefix(text, "-") && start.at.After(now) {
			t.Errorf("%q goes forward to %s", text, start)
		}
		for _, p := range []streams.Partition{0, 15} {
			if id, ok := start.Position(p, 16); ok && id.Partition() != p {
				t.Errorf("%q is %s in partition %d", text, id, p)
			}
		}
		w := streams.Watermarks{Last: streams.MakeID(1<<40, 7, 0), Tails: []streams.ID{{}}}
		if start.kind == fromLast {
			return // Locate reads the log
		}
		starts, err := Locate(t.Context(), nil, 16, 0, w, []streams.Room{"lobby"}, start)
		if err != nil || len(starts) != 1 || starts[0].Pos.Partition() != 0 {
			t.Errorf("%q is located at %+v, %v", text, starts, err)
		}
	})
}
