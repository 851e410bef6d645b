package logtest

import (
	"slices"

	"github.com/tidemark/tidemark/streams"
)

// A log without events already has a position to start from.
func testWatermarksNew(t *test) {
	for p := range t.Log.Partitions() {
		ctx, cancel := t.bounded()
		w, err := t.Log.Watermarks(ctx, streams.Partition(p), nil)
		cancel()
		if err != nil {
			t.Fatalf("Watermarks of partition %d: %v", p, err)
		}
		if w.Last.IsZero() || w.Last.Partition() != streams.Partition(p) {
			t.Errorf("Last of new partition %d is %s, want a position in it", p, w.Last)
		}
		if w.Last.Before(w.Base()) {
			t.Errorf("partition %d: Last %s is before Base %s", p, w.Last, w.Base())
		}
	}
}

// Last is at or after every event so far, and before every later one. The floor does not
// move without a loss.
func testWatermarksFollow(t *test) {
	room := t.room("watermarks")
	floor := t.watermarks().Floor
	for i := range 20 {
		before := t.watermarks(room)
		id := t.append(draft(room, i))[0]
		after := t.watermarks(room)
		if !before.Last.Before(id) || after.Last.Before(id) {
			t.Errorf("event %s, Last before %s and after %s", id, before.Last, after.Last)
		}
		if after.Tails[0] != id {
			t.Errorf("tail is %s, want %s", after.Tails[0], id)
		}
		if after.Floor != floor {
			t.Errorf("the floor moved from %s to %s though nothing was lost", floor, after.Floor)
		}
	}
}

// Tails are in the order of the requested rooms, and zero for a room without a record.
func testWatermarksTails(t *test) {
	rooms := t.rooms("tails", 30)
	want := make([]streams.ID, len(rooms))
	for i, room := range rooms {
		if i%3 != 0 { // every third room stays empty
			want[i] = t.append(draft(room, 1), draft(room, 2))[1]
		}
	}
	slices.Reverse(rooms)
	slices.Reverse(want)
	rooms, want = append(rooms, rooms[0]), append(want, want[0]) // and one room twice
	for i, tail := range t.watermarks(rooms...).Tails {
		if tail != want[i] {
			t.Errorf("tail %d, of room %q, is %s, want %s", i, rooms[i], tail, want[i])
		}
	}
}

// The Prev of a room's first event is the Base at that moment.
func testFirstPrev(t *test) {
	for i, room := range t.rooms("first", 5) {
		from := t.watermarks().Base()
		id := t.append(draft(room, i))[0]
		to := t.watermarks().Base()
		events := t.all(room)
		if len(events) != 1 {
			t.Fatalf("room %q has %d events, want 1", room, len(events))
		}
		if prev := events[0].Prev; prev.Before(from) || to.Before(prev) || !prev.Before(id) {
			t.Errorf("first event %s has Prev %s, want %s to %s", id, prev, from, to)
		}
	}
}
