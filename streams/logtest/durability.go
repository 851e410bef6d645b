package logtest

import (
	"errors"

	"github.com/tidemark/tidemark/streams"
)

// A receipt names at least the requested level. A log refuses a level that it cannot
// provide, and stores nothing. A draft that did not reach its level in time is stored, has
// an id, and can be repeated.
func testDurability(t *test) {
	for _, level := range []streams.Durability{0, streams.Logged, streams.Replicated, streams.Fsynced} {
		room := t.rooms("durable-"+level.String(), 1)[0]
		d := draft(room, 0)
		d.Key, d.Durability = "k", level
		r := t.try(t.Log, d)[0]
		switch {
		case errors.Is(r.Err, streams.ErrDurability):
			if level <= streams.Logged {
				t.Errorf("level %q: %v, which every log must provide", level, r.Err)
			}
			if n := len(t.all(room)); n != 0 {
				t.Errorf("level %q was refused, and %d events are stored", level, n)
			}
			continue
		case errors.Is(r.Err, streams.ErrNotDurable):
			if r.ID.IsZero() {
				t.Errorf("level %q was not reached, and the receipt has no id", level)
			}
		case r.Err != nil:
			t.Fatalf("level %q: %v", level, r.Err)
		case r.Durability < max(level, streams.Logged):
			t.Errorf("level %q was requested, and the receipt says %q", level, r.Durability)
		}
		d.Durability = 0
		if again := t.try(t.Log, d)[0]; again.Err != nil || !again.Replayed || again.ID != r.ID {
			t.Errorf("level %q: the repeat's receipt is %+v, the first was %+v", level, again, r)
		}
		if n := len(t.all(room)); n != 1 {
			t.Errorf("level %q: %d events, want 1", level, n)
		}
	}
}

// An ephemeral event does not reach any durability, also if the draft requests one.
func testDurabilityEphemeral(t *test) {
	d := draft(t.rooms("transient", 1)[0], 0)
	d.Retention.Events, d.Durability = 0, streams.Logged
	if r := t.try(t.Log, d)[0]; r.Err != nil || r.Durability != 0 {
		t.Errorf("receipt %+v of an ephemeral event", r)
	}
}
