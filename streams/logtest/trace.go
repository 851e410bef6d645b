package logtest

import (
	"bytes"
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// An event has its draft's trace where it is live, alone and in a batch, logged or not,
// among others that have none or another, and on other nodes; it is nowhere else: what is
// logged is what is logged without.
func testTrace(s *suite) {
	room, silent, stranger := s.room("traced"), s.room("passing"), s.room("stranger")
	listeners := []*listener{s.listen(s.Log)}
	if s.Second != nil {
		listeners = append(listeners, s.listen(s.Second))
	}
	for _, l := range listeners {
		l.join(room, 1)
		l.join(silent, 2)
	}

	passing := traced(draft(silent, 3), 3)
	passing.Retention.Events = 0
	keyed := traced(draft(room, 4), 4)
	keyed.Key = "once"
	batch := []streams.Draft{
		traced(draft(room, 0), 0), draft(room, 1), traced(draft(stranger, 2), 2), passing, keyed, draft(room, 5), traced(draft(room, 6), 6),
	}
	want := map[streams.ID]streams.Trace{}
	for i, id := range s.append(batch...) {
		want[id] = batch[i].Trace
	}
	repeated := s.append(traced(keyed, 7))[0] // is not live again, with whatever trace
	last := s.append(draft(room, 8))[0]

	for _, l := range listeners {
		live := l.through(last)
		for _, e := range live {
			if e.Trace != want[e.ID] {
				s.Errorf("event %s of %q has the trace %q, want %q", e.ID, e.Room, e.Trace, want[e.ID])
			}
		}
		if len(live) != len(batch) { // without the stranger's, with the last
			s.Errorf("%d events are live, want %d", len(live), len(batch))
		}
	}
	if want[repeated] != keyed.Trace {
		s.Errorf("the repeat of a key has the id %s, which is new", repeated)
	}
	for _, e := range s.all(room) {
		if bytes.Contains(e.Data, []byte("00-")) || e.Type != streams.DefaultType {
			s.Errorf("event %s was logged as %s %s", e.ID, e.Type, e.Data)
		}
	}
}

// traced gives d the n-th of some traces.
func traced(d streams.Draft, n int) streams.Draft {
	d.Trace = streams.Trace(fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e%04x-00f067aa0ba9%04x-01", n+1, n+1))
	return d
}
