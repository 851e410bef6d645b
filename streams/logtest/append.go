package logtest

import (
	"errors"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// Ids rise for each appender from one call to the next, and over all appenders
// and rooms no id comes twice.
func testIDsRise(s *suite) {
	const appenders, each = 8, 40
	rooms := s.rooms("rise", 5)
	perAppender := make([][]streams.ID, appenders)

	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				perAppender[a] = append(perAppender[a], s.append(draft(rooms[(a+i)%len(rooms)], i))...)
			}
		})
	}
	running.Wait()

	var ids []streams.ID
	for _, own := range perAppender {
		s.rising("ids of one appender", own)
		ids = append(ids, own...)
	}
	s.rising("all ids, sorted", sorted(ids))
	for _, id := range ids {
		if !streams.IDAt(id.Time(), 0).Before(id) {
			s.Fatalf("id %s is not after the position before its own moment: sequence 0 is no event's", id)
		}
	}
}

// However appenders race, the events of a room form one chain.
func testPrevChains(s *suite) {
	const appenders, each = 6, 50
	rooms := s.rooms("chain", 3)
	var mu sync.Mutex // guards stored
	stored := map[streams.Room][]streams.ID{}

	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				room := rooms[(a+i)%len(rooms)]
				ids := s.append(draft(room, i))
				mu.Lock()
				stored[room] = append(stored[room], ids...)
				mu.Unlock()
			}
		})
	}
	running.Wait()

	for _, room := range rooms {
		events := s.all(room)
		s.sameIDs("events of "+string(room), sorted(stored[room]), idsOf(events))
		s.chained(string(room), events)
	}
}

// Drafts of one call are stored in their order, one right after the other.
func testBatchOrder(s *suite) {
	room := s.room("batch")
	first := s.append(draft(room, 0))
	ids := s.append(drafts(room, 300)...)
	s.rising("ids of one batch", ids)

	events := s.all(room)
	s.sameIDs("events", append(first, ids...), idsOf(events))
	s.chained("batch", events)
	for i, e := range events[1:] {
		if want := draft(room, i).Data; string(e.Data) != string(want) {
			s.Fatalf("event %d has data %s, want %s", i, e.Data, want)
		}
	}
}

// Receipts come in the order of drafts, whatever partitions the rooms are of.
func testBatchSpans(s *suite) {
	var batch []streams.Draft
	for round := range 4 {
		for p := range s.Log.Partitions() {
			batch = append(batch,
				draft(s.roomIn(streams.Partition(p), "a"), round),
				draft(s.roomIn(streams.Partition(p), "b"), round))
		}
	}
	want := map[streams.Room][]streams.ID{}
	for i, id := range s.append(batch...) {
		room := batch[i].Room
		if p := room.Partition(s.Log.Partitions()); id.Partition() != p {
			s.Errorf("id of room %q is of partition %d, want %d", room, id.Partition(), p)
		}
		want[room] = append(want[room], id)
	}
	for room, ids := range want {
		s.sameIDs("events of "+string(room), ids, idsOf(s.all(room)))
	}
}

// A draft that fails leaves the others of its batch alone.
func testBatchFailures(s *suite) {
	room := s.room("partly")
	used := draft(room, 1)
	used.Key = "used"
	first := s.append(used)

	clash := draft(room, 2)
	clash.Key = used.Key
	receipts := s.try(s.Log, draft(room, 3), clash, draft(room, 4), used)

	if err := receipts[1].Err; !errors.Is(err, streams.ErrKeyReused) {
		s.Errorf("a draft with a used key: %v, want ErrKeyReused", err)
	}
	if r := receipts[3]; r.Err != nil || !r.Replayed || r.ID != first[0] {
		s.Errorf("a repeat within a batch: %+v, want a replay of %s", r, first[0])
	}
	for _, i := range []int{0, 2} {
		if r := receipts[i]; r.Err != nil || r.Replayed {
			s.Errorf("draft %d, which is in order: %+v", i, r)
		}
	}
	s.sameIDs("events", append(first, receipts[0].ID, receipts[2].ID), idsOf(s.all(room)))
}

func testBatchEmpty(s *suite) {
	if r := s.try(s.Log); len(r) != 0 {
		s.Errorf("Append of nothing gave %d receipts", len(r))
	}
}
