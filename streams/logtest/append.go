package logtest

import (
	"errors"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// The ids of one appender rise from call to call, and no id is used twice over all
// appenders and rooms.
func testIDsRise(t *test) {
	const appenders, each = 8, 40
	rooms := t.rooms("rise", 5)
	perAppender := make([][]streams.ID, appenders)

	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				perAppender[a] = append(perAppender[a], t.append(draft(rooms[(a+i)%len(rooms)], i))...)
			}
		})
	}
	running.Wait()

	var ids []streams.ID
	for _, own := range perAppender {
		t.rising("ids of one appender", own)
		ids = append(ids, own...)
	}
	t.rising("all ids, sorted", sorted(ids))
	for _, id := range ids {
		if !streams.IDAt(id.Time(), 0).Before(id) {
			t.Fatalf("id %s is not after the position IDAt(its time, 0): an event must not have sequence 0", id)
		}
	}
}

// With concurrent appenders, the events of each room form one chain of Prev ids.
func testPrevChains(t *test) {
	const appenders, each = 6, 50
	rooms := t.rooms("chain", 3)
	var mu sync.Mutex // guards stored
	stored := map[streams.Room][]streams.ID{}

	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				room := rooms[(a+i)%len(rooms)]
				ids := t.append(draft(room, i))
				mu.Lock()
				stored[room] = append(stored[room], ids...)
				mu.Unlock()
			}
		})
	}
	running.Wait()

	for _, room := range rooms {
		events := t.all(room)
		t.sameIDs("events of "+string(room), sorted(stored[room]), idsOf(events))
		t.chained(string(room), events)
	}
}

// The drafts of one call are stored in their order, without other events between them.
func testBatchOrder(t *test) {
	room := t.room("batch")
	first := t.append(draft(room, 0))
	ids := t.append(drafts(room, 300)...)
	t.rising("ids of one batch", ids)

	events := t.all(room)
	t.sameIDs("events", append(first, ids...), idsOf(events))
	t.chained("batch", events)
	for i, e := range events[1:] {
		if want := draft(room, i).Data; string(e.Data) != string(want) {
			t.Fatalf("event %d has data %s, want %s", i, e.Data, want)
		}
	}
}

// Receipts are in the order of the drafts, also over several partitions.
func testBatchSpans(t *test) {
	var batch []streams.Draft
	for round := range 4 {
		for p := range t.Log.Partitions() {
			batch = append(batch,
				draft(t.roomIn(streams.Partition(p), "a"), round),
				draft(t.roomIn(streams.Partition(p), "b"), round))
		}
	}
	want := map[streams.Room][]streams.ID{}
	for i, id := range t.append(batch...) {
		room := batch[i].Room
		if p := room.Partition(t.Log.Partitions()); id.Partition() != p {
			t.Errorf("id of room %q is in partition %d, want %d", room, id.Partition(), p)
		}
		want[room] = append(want[room], id)
	}
	for room, ids := range want {
		t.sameIDs("events of "+string(room), ids, idsOf(t.all(room)))
	}
}

// A draft that fails does not affect the other drafts of its batch.
func testBatchFailures(t *test) {
	room := t.room("partly")
	used := draft(room, 1)
	used.Key = "used"
	first := t.append(used)

	clash := draft(room, 2)
	clash.Key = used.Key
	receipts := t.try(t.Log, draft(room, 3), clash, draft(room, 4), used)

	if err := receipts[1].Err; !errors.Is(err, streams.ErrKeyReused) {
		t.Errorf("a draft with a used key: %v, want ErrKeyReused", err)
	}
	if r := receipts[3]; r.Err != nil || !r.Replayed || r.ID != first[0] {
		t.Errorf("a repeat within a batch: %+v, want a replay of %s", r, first[0])
	}
	for _, i := range []int{0, 2} {
		if r := receipts[i]; r.Err != nil || r.Replayed {
			t.Errorf("draft %d, which is valid: %+v", i, r)
		}
	}
	t.sameIDs("events", append(first, receipts[0].ID, receipts[2].ID), idsOf(t.all(room)))
}

// Append without drafts returns no receipts.
func testBatchEmpty(t *test) {
	if r := t.try(t.Log); len(r) != 0 {
		t.Errorf("Append without drafts gave %d receipts", len(r))
	}
}
