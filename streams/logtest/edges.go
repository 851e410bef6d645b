package logtest

import (
	"slices"

	"github.com/tidemark/tidemark/streams"
)

// Before any event there is a position to start from already.
func testEdgesNew(s *suite) {
	for p := range s.Log.Partitions() {
		ctx, cancel := s.bounded()
		e, err := s.Log.Watermarks(ctx, streams.Partition(p), nil)
		cancel()
		if err != nil {
			s.Fatalf("Edges of partition %d: %v", p, err)
		}
		if e.Last.IsZero() || e.Last.Partition() != streams.Partition(p) {
			s.Errorf("Last of new partition %d is %s, want a position in it", p, e.Last)
		}
		if e.Last.Before(e.Base()) {
			s.Errorf("partition %d: Last %s is before Origin %s", p, e.Last, e.Base())
		}
	}
}

// Last is at or after every event so far and before every later one.
func testEdgesFollow(s *suite) {
	room := s.room("edges")
	floor := s.edges().Floor
	for i := range 20 {
		before := s.edges(room)
		id := s.append(draft(room, i))[0]
		after := s.edges(room)
		if !before.Last.Before(id) || after.Last.Before(id) {
			s.Errorf("event %s, Last before %s and after %s", id, before.Last, after.Last)
		}
		if after.Tails[0] != id {
			s.Errorf("tail is %s, want %s", after.Tails[0], id)
		}
		if after.Floor != floor {
			s.Errorf("the floor moved from %s to %s though nothing was lost", floor, after.Floor)
		}
	}
}

func testEdgesTails(s *suite) {
	rooms := s.rooms("tails", 30)
	want := make([]streams.ID, len(rooms))
	for i, room := range rooms {
		if i%3 != 0 { // every third is never used
			want[i] = s.append(draft(room, 1), draft(room, 2))[1]
		}
	}
	slices.Reverse(rooms)
	slices.Reverse(want)
	rooms, want = append(rooms, rooms[0]), append(want, want[0]) // and one asked for twice
	for i, tail := range s.edges(rooms...).Tails {
		if tail != want[i] {
			s.Errorf("tail %d, of room %q, is %s, want %s", i, rooms[i], tail, want[i])
		}
	}
}

// The first event of a room follows the Origin of its moment.
func testFirstPrev(s *suite) {
	for i, room := range s.rooms("first", 5) {
		from := s.edges().Base()
		id := s.append(draft(room, i))[0]
		to := s.edges().Base()
		events := s.all(room)
		if len(events) != 1 {
			s.Fatalf("room %q has %d events, want 1", room, len(events))
		}
		if prev := events[0].Prev; prev.Before(from) || to.Before(prev) || !prev.Before(id) {
			s.Errorf("first event %s has Prev %s, want %s to %s", id, prev, from, to)
		}
	}
}
