package logtest

import (
	"errors"

	"github.com/tidemark/tidemark/streams"
)

// A receipt names a level that is at least the one asked for. What a log can't give
// it refuses without storing anything; what did not become safe in time is stored,
// has an id, and can be repeated.
func testDurability(s *suite) {
	for _, level := range []streams.Durability{0, streams.Logged, streams.Replicated, streams.Fsynced} {
		room := s.rooms("durable-"+level.String(), 1)[0]
		d := draft(room, 0)
		d.Key, d.Durability = "k", level
		r := s.try(s.Log, d)[0]
		switch {
		case errors.Is(r.Err, streams.ErrDurability):
			if level <= streams.Logged {
				s.Errorf("level %q: %v, which every log can give", level, r.Err)
			}
			if n := len(s.all(room)); n != 0 {
				s.Errorf("level %q was refused, and %d events are stored", level, n)
			}
			continue
		case errors.Is(r.Err, streams.ErrNotDurable):
			if r.ID.IsZero() {
				s.Errorf("level %q was not reached, and the receipt has no id", level)
			}
		case r.Err != nil:
			s.Fatalf("level %q: %v", level, r.Err)
		case r.Durability < max(level, streams.Logged):
			s.Errorf("level %q was asked for, %q is said to be reached", level, r.Durability)
		}
		d.Durability = 0
		if again := s.try(s.Log, d)[0]; again.Err != nil || !again.Replayed || again.ID != r.ID {
			s.Errorf("level %q: the repeat's receipt is %+v, the first was %+v", level, again, r)
		}
		if n := len(s.all(room)); n != 1 {
			s.Errorf("level %q: %d events, want 1", level, n)
		}
	}
}

// What is never logged has no durability, whatever is asked for.
func testDurabilityEphemeral(s *suite) {
	d := draft(s.rooms("passing", 1)[0], 0)
	d.Retention.Events, d.Durability = 0, streams.Logged
	if r := s.try(s.Log, d)[0]; r.Err != nil || r.Durability != 0 {
		s.Errorf("receipt %+v of an ephemeral event", r)
	}
}
