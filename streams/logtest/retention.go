package logtest

import (
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A room keeps its newest events, a few more at most, and the first one kept
// names the last one trimmed.
func testKeepCount(s *suite) {
	for _, capacity := range []int{1, 10, 150} {
		room := s.room("cap")
		batch := drafts(room, 50)
		for i := range batch {
			batch[i].Retention.Events = capacity
		}
		var ids []streams.ID
		for range 10 {
			ids = append(ids, s.append(batch...)...)
			s.keptOf(ids, room, capacity)
		}
		for range 30 {
			ids = append(ids, s.append(batch[0])...)
			s.keptOf(ids, room, capacity)
		}
	}
}

// keptOf checks what is left of a room to which ids, among others before them,
// were appended under the cap.
func (s *suite) keptOf(ids []streams.ID, room streams.Room, capacity int) {
	s.Helper()
	events := s.all(room)
	if least := min(capacity, len(ids)); len(events) < least || len(events) > capacity+streams.ExtraKept {
		s.Fatalf("cap %d: %d events kept of %d, want %d to %d",
			capacity, len(events), len(ids), least, capacity+streams.ExtraKept)
	}
	s.chained("kept", events)
	if len(events) >= len(ids) {
		return // what was there before them is still kept
	}
	trimmed := len(ids) - len(events)
	s.sameIDs("kept", ids[trimmed:], idsOf(events))
	if first := events[0]; first.Prev != ids[trimmed-1] {
		s.Errorf("cap %d: the first kept has Prev %s, want the last trimmed, %s", capacity, first.Prev, ids[trimmed-1])
	}
}

// A cap is that of the newest draft.
func testKeepShrinks(s *suite) {
	room := s.room("cap")
	ids := s.append(drafts(room, 400)...)
	s.keptOf(ids, room, 400)
	small := draft(room, 400)
	small.Retention.Events = 5
	ids = append(ids, s.append(small)...)
	s.keptOf(ids, room, 5)
}

// The events of a quiet room go, its tail record stays, and so the next event
// still says what it follows.
func testKeepAge(s *suite) {
	room, other := s.room("age"), s.room("other")
	batch := drafts(room, 3)
	for i := range batch {
		batch[i].Retention.Age = 50 * time.Millisecond
	}
	ids := s.append(batch...)
	lasting := s.append(draft(other, 1))

	s.eventually("the room is empty", func() bool { return len(s.all(room)) == 0 })
	if got := s.before(room, end(), 10); len(got) != 0 {
		s.Errorf("Before still gives %d events", len(got))
	}
	if tail := s.edges(room).Tails[0]; tail != ids[2] {
		s.Errorf("tail of the expired room is %s, want %s", tail, ids[2])
	}
	s.sameIDs("the other room", lasting, idsOf(s.all(other)))

	next := s.append(draft(room, 4))
	events := s.all(room)
	s.sameIDs("after the return", next, idsOf(events))
	if len(events) == 1 && events[0].Prev != ids[2] {
		s.Errorf("the next event has Prev %s, want %s", events[0].Prev, ids[2])
	}
}

// An ephemeral event has a place in the order and is live, and that is all.
func testEphemeral(s *suite) {
	passing, lasting := s.room("passing"), s.room("lasting")
	feed := s.listen(s.Log)
	feed.join(passing, 1)
	feed.join(lasting, 2)

	short := draft(passing, 1)
	short.Retention.Events = 0
	var ids, logged []streams.ID
	for i := range 5 {
		ids = append(ids, s.append(short, draft(lasting, i))...)
		logged = append(logged, ids[len(ids)-1])
	}
	s.rising("ids", ids)

	live := feed.through(ids[len(ids)-1])
	s.sameIDs("live", ids, idsOf(live))
	for _, e := range live {
		if want := e.Room == passing; e.Ephemeral != want || want && !e.Prev.IsZero() {
			s.Errorf("event %s of %q: Ephemeral %v, Prev %s", e.ID, e.Room, e.Ephemeral, e.Prev)
		}
	}
	if got := s.all(passing); len(got) != 0 {
		s.Errorf("the ephemeral room has %d events to read", len(got))
	}
	if tail := s.edges(passing).Tails[0]; !tail.IsZero() {
		s.Errorf("the ephemeral room has the tail %s", tail)
	}
	s.sameIDs("the lasting room", logged, idsOf(s.all(lasting)))
	s.chained("the lasting room", s.all(lasting))
}
