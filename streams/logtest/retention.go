package logtest

import (
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A room keeps its newest events up to its cap, and at most streams.ExtraKept more. The
// Prev of the oldest kept event is the newest trimmed one.
func testKeepCount(t *test) {
	for _, capacity := range []int{1, 10, 150} {
		room := t.room("cap")
		batch := drafts(room, 50)
		for i := range batch {
			batch[i].Retention.Events = capacity
		}
		var ids []streams.ID
		for range 10 {
			ids = append(ids, t.append(batch...)...)
			t.checkKept(ids, room, capacity)
		}
		for range 30 {
			ids = append(ids, t.append(batch[0])...)
			t.checkKept(ids, room, capacity)
		}
	}
}

// checkKept checks the remaining events of a room with a cap. ids are the newest events
// that were appended to it.
func (t *test) checkKept(ids []streams.ID, room streams.Room, capacity int) {
	t.Helper()
	events := t.all(room)
	if least := min(capacity, len(ids)); len(events) < least || len(events) > capacity+streams.ExtraKept {
		t.Fatalf("cap %d: %d events kept of %d, want %d to %d",
			capacity, len(events), len(ids), least, capacity+streams.ExtraKept)
	}
	t.chained("kept", events)
	if len(events) >= len(ids) {
		return // the room also keeps events older than ids
	}
	trimmed := len(ids) - len(events)
	t.sameIDs("kept", ids[trimmed:], idsOf(events))
	if first := events[0]; first.Prev != ids[trimmed-1] {
		t.Errorf("cap %d: the first kept has Prev %s, want the last trimmed, %s", capacity, first.Prev, ids[trimmed-1])
	}
}

// The cap of the newest draft applies to the whole room.
func testKeepShrinks(t *test) {
	room := t.room("cap")
	ids := t.append(drafts(room, 400)...)
	t.checkKept(ids, room, 400)
	small := draft(room, 400)
	small.Retention.Events = 5
	ids = append(ids, t.append(small)...)
	t.checkKept(ids, room, 5)
}

// The events of an inactive room expire, but its tail record stays. So the Prev of the
// next event is still the id of the last expired one.
func testKeepAge(t *test) {
	room, other := t.room("age"), t.room("other")
	batch := drafts(room, 3)
	for i := range batch {
		batch[i].Retention.Age = 50 * time.Millisecond
	}
	ids := t.append(batch...)
	lasting := t.append(draft(other, 1))

	t.eventually("the room is empty", func() bool { return len(t.all(room)) == 0 })
	if got := t.before(room, end(), 10); len(got) != 0 {
		t.Errorf("Before still returns %d events", len(got))
	}
	if tail := t.watermarks(room).Tails[0]; tail != ids[2] {
		t.Errorf("tail of the expired room is %s, want %s", tail, ids[2])
	}
	t.sameIDs("the other room", lasting, idsOf(t.all(other)))

	next := t.append(draft(room, 4))
	events := t.all(room)
	t.sameIDs("after the expiry", next, idsOf(events))
	if len(events) == 1 && events[0].Prev != ids[2] {
		t.Errorf("the next event has Prev %s, want %s", events[0].Prev, ids[2])
	}
}

// An ephemeral event has an id in the order and is live, but it is not stored.
func testEphemeral(t *test) {
	transient, lasting := t.room("transient"), t.room("lasting")
	feed := t.record(t.Log)
	feed.join(transient, 1)
	feed.join(lasting, 2)

	short := draft(transient, 1)
	short.Retention.Events = 0
	var ids, logged []streams.ID
	for i := range 5 {
		ids = append(ids, t.append(short, draft(lasting, i))...)
		logged = append(logged, ids[len(ids)-1])
	}
	t.rising("ids", ids)

	live := feed.through(ids[len(ids)-1])
	t.sameIDs("live", ids, idsOf(live))
	for _, e := range live {
		if want := e.Room == transient; e.Ephemeral != want || want && !e.Prev.IsZero() {
			t.Errorf("event %s of %q: Ephemeral %v, Prev %s", e.ID, e.Room, e.Ephemeral, e.Prev)
		}
	}
	if got := t.all(transient); len(got) != 0 {
		t.Errorf("the ephemeral room has %d events to read", len(got))
	}
	if tail := t.watermarks(transient).Tails[0]; !tail.IsZero() {
		t.Errorf("the ephemeral room has the tail %s", tail)
	}
	t.sameIDs("the lasting room", logged, idsOf(t.all(lasting)))
	t.chained("the lasting room", t.all(lasting))
}
