package logtest

import (
	"errors"
	"strings"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

func keyed(room streams.Room, n int, key string) streams.Draft {
	d := draft(room, n)
	d.Key = key
	return d
}

// A repeat answers with the first id, and is neither stored nor live again.
func testKeyRepeat(s *suite) {
	room := s.room("keys")
	feed := s.listen(s.Log)
	feed.join(room, 1)

	longest := strings.Repeat(" ~", streams.MaxKey/2)
	var want []streams.ID
	for _, key := range []string{"k", "other key", longest} {
		d := keyed(room, 1, key)
		first := s.try(s.Log, d)[0]
		if first.Err != nil || first.Replayed {
			s.Fatalf("the first append: %+v", first)
		}
		for range 3 {
			if r := s.try(s.Log, d)[0]; r.Err != nil || !r.Replayed || r.ID != first.ID {
				s.Errorf("a repeat: %+v, want a replay of %s", r, first.ID)
			}
		}
		want = append(want, first.ID)
	}
	want = append(want, s.append(draft(room, 2))...) // once it is live, so is all before it
	s.sameIDs("logged", want, idsOf(s.all(room)))
	s.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// The same key with another type or other data is an error, and stores nothing.
func testKeyReuse(s *suite) {
	room := s.room("keys")
	first := keyed(room, 1, "k")
	ids := s.append(first)

	otherType := first
	otherType.Type = "other"
	for _, d := range []streams.Draft{keyed(room, 2, "k"), otherType} {
		if r := s.try(s.Log, d)[0]; !errors.Is(r.Err, streams.ErrKeyReused) {
			s.Errorf("another draft with the same key: %+v, want ErrKeyReused", r)
		}
	}
	if r := s.try(s.Log, first)[0]; r.Err != nil || r.ID != ids[0] {
		s.Errorf("the first draft again: %+v, want a replay of %s", r, ids[0])
	}
	ids = append(ids, s.append(draft(room, 3))...)
	s.sameIDs("logged", ids, idsOf(s.all(room)))
	s.chained("keys", s.all(room))
}

// A key means something within its room only, and a room and key that join to
// the same text are not the same.
func testKeyScope(s *suite) {
	a := s.room("scope")
	for _, d := range []streams.Draft{
		keyed(a, 1, "k"), keyed(s.room("scope-more"), 2, "k"),
		keyed(a, 3, "k:k"), keyed(s.room(string(a)+":k"), 4, "k"), keyed(a, 5, ""),
	} {
		if r := s.try(s.Log, d)[0]; r.Err != nil || r.Replayed {
			s.Errorf("room %q, key %q: %+v, want it stored", d.Room, d.Key, r)
		}
	}
}

// Of many who append the same draft at once, one stores it.
func testKeyConcurrent(s *suite) {
	const repeats, rounds = 16, 10
	room := s.room("keys")
	var want []streams.ID
	for round := range rounds {
		d := keyed(room, round, strings.Repeat("k", round+1))
		receipts := make([]streams.Receipt, repeats)
		var running sync.WaitGroup
		for i := range receipts {
			running.Go(func() { receipts[i] = s.try(s.Log, d)[0] })
		}
		running.Wait()
		want = append(want, s.storedOnce(receipts))
	}
	s.sameIDs("logged", want, idsOf(s.all(room)))
}

// storedOnce checks that one of the receipts is of the first time and the
// others are replays of it, and returns the id.
func (s *suite) storedOnce(receipts []streams.Receipt) streams.ID {
	s.Helper()
	first := 0
	for _, r := range receipts {
		if r.Err != nil || r.ID != receipts[0].ID {
			s.Errorf("receipt %+v, want id %s", r, receipts[0].ID)
		}
		if !r.Replayed {
			first++
		}
	}
	if first != 1 {
		s.Errorf("%d of %d receipts say that they stored the event, want 1", first, len(receipts))
	}
	return receipts[0].ID
}

func testKeyTwiceInBatch(s *suite) {
	room := s.room("keys")
	same, clash := keyed(room, 1, "k"), keyed(room, 2, "k")
	receipts := s.try(s.Log, same, draft(room, 0), same, clash)
	id := s.storedOnce([]streams.Receipt{receipts[0], receipts[2]})
	if !receipts[2].Replayed {
		s.Error("the second of two equal drafts is not a replay")
	}
	if err := receipts[3].Err; !errors.Is(err, streams.ErrKeyReused) {
		s.Errorf("the same key with other data: %v, want ErrKeyReused", err)
	}
	s.sameIDs("logged", []streams.ID{id, receipts[1].ID}, idsOf(s.all(room)))
}

// A key guards an event that is live only just the same.
func testKeyEphemeral(s *suite) {
	room, marker := s.room("passing"), s.room("marker")
	feed := s.listen(s.Log)
	feed.join(room, 1)
	feed.join(marker, 2)

	d := keyed(room, 1, "k")
	d.Retention.Events = 0
	id := s.storedOnce(append(s.try(s.Log, d), s.try(s.Log, d)...))
	last := s.append(draft(marker, 1))[0]
	s.sameIDs("live", []streams.ID{id, last}, idsOf(feed.through(last)))
}
