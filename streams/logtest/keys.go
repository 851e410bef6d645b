package logtest

import (
	"errors"
	"strings"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// A repeated draft returns the first id, and is neither stored nor live again.
func testKeyRepeat(t *test) {
	room := t.room("keys")
	feed := t.record(t.Log)
	feed.join(room, 1)

	longest := strings.Repeat(" ~", streams.MaxKey/2)
	var want []streams.ID
	for _, key := range []string{"k", "other key", longest} {
		d := keyed(room, 1, key)
		first := t.try(t.Log, d)[0]
		if first.Err != nil || first.Replayed {
			t.Fatalf("the first append: %+v", first)
		}
		for range 3 {
			if r := t.try(t.Log, d)[0]; r.Err != nil || !r.Replayed || r.ID != first.ID {
				t.Errorf("a repeat: %+v, want a replay of %s", r, first.ID)
			}
		}
		want = append(want, first.ID)
	}
	want = append(want, t.append(draft(room, 2))...) // its arrival shows that all earlier events have arrived
	t.sameIDs("logged", want, idsOf(t.all(room)))
	t.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// A key with another type or other data gives ErrKeyReused, and nothing is stored.
func testKeyReuse(t *test) {
	room := t.room("keys")
	first := keyed(room, 1, "k")
	ids := t.append(first)

	otherType := first
	otherType.Type = "other"
	for _, d := range []streams.Draft{keyed(room, 2, "k"), otherType} {
		if r := t.try(t.Log, d)[0]; !errors.Is(r.Err, streams.ErrKeyReused) {
			t.Errorf("another draft with the same key: %+v, want ErrKeyReused", r)
		}
	}
	if r := t.try(t.Log, first)[0]; r.Err != nil || r.ID != ids[0] {
		t.Errorf("the first draft again: %+v, want a replay of %s", r, ids[0])
	}
	ids = append(ids, t.append(draft(room, 3))...)
	t.sameIDs("logged", ids, idsOf(t.all(room)))
	t.chained("keys", t.all(room))
}

// A key counts within its room only. A room and a key whose concatenation equals that of
// another pair are different.
func testKeyScope(t *test) {
	a := t.room("scope")
	for _, d := range []streams.Draft{
		keyed(a, 1, "k"), keyed(t.room("scope-more"), 2, "k"),
		keyed(a, 3, "k:k"), keyed(t.room(string(a)+":k"), 4, "k"), keyed(a, 5, ""),
	} {
		if r := t.try(t.Log, d)[0]; r.Err != nil || r.Replayed {
			t.Errorf("room %q, key %q: %+v, want it stored", d.Room, d.Key, r)
		}
	}
}

// When many goroutines append the same draft at once, it is stored once.
func testKeyConcurrent(t *test) {
	const repeats, rounds = 16, 10
	room := t.room("keys")
	var want []streams.ID
	for round := range rounds {
		d := keyed(room, round, strings.Repeat("k", round+1))
		receipts := make([]streams.Receipt, repeats)
		var running sync.WaitGroup
		for i := range receipts {
			running.Go(func() { receipts[i] = t.try(t.Log, d)[0] })
		}
		running.Wait()
		want = append(want, t.storedOnce(receipts))
	}
	t.sameIDs("logged", want, idsOf(t.all(room)))
}

// storedOnce checks that exactly one receipt is not a replay and that all have the same
// id, which it returns.
func (t *test) storedOnce(receipts []streams.Receipt) streams.ID {
	t.Helper()
	first := 0
	for _, r := range receipts {
		if r.Err != nil || r.ID != receipts[0].ID {
			t.Errorf("receipt %+v, want id %s", r, receipts[0].ID)
		}
		if !r.Replayed {
			first++
		}
	}
	if first != 1 {
		t.Errorf("%d of %d receipts are not replays, want 1", first, len(receipts))
	}
	return receipts[0].ID
}

// A draft that occurs twice in one batch is stored once.
func testKeyTwiceInBatch(t *test) {
	room := t.room("keys")
	same, clash := keyed(room, 1, "k"), keyed(room, 2, "k")
	receipts := t.try(t.Log, same, draft(room, 0), same, clash)
	id := t.storedOnce([]streams.Receipt{receipts[0], receipts[2]})
	if !receipts[2].Replayed {
		t.Error("the second of two equal drafts is not a replay")
	}
	if err := receipts[3].Err; !errors.Is(err, streams.ErrKeyReused) {
		t.Errorf("the same key with other data: %v, want ErrKeyReused", err)
	}
	t.sameIDs("logged", []streams.ID{id, receipts[1].ID}, idsOf(t.all(room)))
}

// A key also prevents an ephemeral event from being live twice.
func testKeyEphemeral(t *test) {
	room, marker := t.room("transient"), t.room("marker")
	feed := t.record(t.Log)
	feed.join(room, 1)
	feed.join(marker, 2)

	d := keyed(room, 1, "k")
	d.Retention.Events = 0
	id := t.storedOnce(append(t.try(t.Log, d), t.try(t.Log, d)...))
	last := t.append(draft(marker, 1))[0]
	t.sameIDs("live", []streams.ID{id, last}, idsOf(feed.through(last)))
}
