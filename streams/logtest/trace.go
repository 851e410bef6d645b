package logtest

import (
	"bytes"
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// A live event has its draft's trace: in a batch with other traces or none, ephemeral or
// not, and on other nodes. The trace is not stored in the log.
func testTrace(t *test) {
	room, transient, stranger := t.room("traced"), t.room("ephemeral"), t.room("stranger")
	recorders := []*recorder{t.record(t.Log)}
	if t.Second != nil {
		recorders = append(recorders, t.record(t.Second))
	}
	for _, r := range recorders {
		r.join(room, 1)
		r.join(transient, 2)
	}

	ephemeral := traced(draft(transient, 3), 3)
	ephemeral.Retention.Events = 0
	once := traced(draft(room, 4), 4)
	once.Key = "once"
	batch := []streams.Draft{
		traced(draft(room, 0), 0), draft(room, 1), traced(draft(stranger, 2), 2), ephemeral, once, draft(room, 5), traced(draft(room, 6), 6),
	}
	want := map[streams.ID]streams.Trace{}
	for i, id := range t.append(batch...) {
		want[id] = batch[i].Trace
	}
	repeated := t.append(traced(once, 7))[0] // not live again, also with another trace
	last := t.append(draft(room, 8))[0]

	for _, r := range recorders {
		live := r.through(last)
		for _, e := range live {
			if e.Trace != want[e.ID] {
				t.Errorf("event %s of %q has the trace %q, want %q", e.ID, e.Room, e.Trace, want[e.ID])
			}
		}
		if len(live) != len(batch) { // without the stranger's event, with the last one
			t.Errorf("%d events are live, want %d", len(live), len(batch))
		}
	}
	if want[repeated] != once.Trace {
		t.Errorf("the repeat of a key has a new id, %s", repeated)
	}
	for _, e := range t.all(room) {
		if bytes.Contains(e.Data, []byte("00-")) || e.Type != streams.DefaultType {
			t.Errorf("event %s was logged as %s %s", e.ID, e.Type, e.Data)
		}
	}
}

// traced returns d with the n-th trace.
func traced(d streams.Draft, n int) streams.Draft {
	d.Trace = streams.Trace(fmt.Sprintf("00-4bf92f3577b34da6a3ce929d0e0e%04x-00f067aa0ba9%04x-01", n+1, n+1))
	return d
}
