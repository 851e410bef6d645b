package logtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// waitLimit bounds every wait for a condition. It is far above the time that a
	// loaded machine needs, and costs nothing while tests pass.
	waitLimit = 30 * time.Second

	// pollEvery is the time between two checks of a condition.
	pollEvery = time.Millisecond
)

// keep is a retention longer than any test.
func keep() streams.Retention { return streams.Retention{Events: 100_000, Age: time.Hour} }

// end returns a position after every event of partition 0.
func end() streams.ID { return streams.MakeID(math.MaxUint64, math.MaxUint64, math.MaxUint16) }

// A test is the environment of one test: its harness, and the calls that most tests make.
// All calls concern partition 0 unless their names say otherwise.
type test struct {
	*testing.T
	*Harness
	ctx context.Context
}

// room returns a room of partition 0 whose name starts with name.
func (t *test) room(name string) streams.Room { return t.roomIn(0, name) }

func (t *test) roomIn(p streams.Partition, name string) streams.Room {
	t.Helper()
	for i := 0; ; i++ {
		r, err := streams.ParseRoom(fmt.Sprintf("%s.%d", name, i))
		if err != nil {
			t.Fatal(err)
		}
		if r.Partition(t.Log.Partitions()) == p {
			return r
		}
	}
}

// rooms returns n different rooms of partition 0.
func (t *test) rooms(name string, n int) []streams.Room {
	t.Helper()
	all := make([]streams.Room, n)
	for i := range all {
		all[i] = t.room(fmt.Sprintf("%s-%d", name, i))
	}
	return all
}

// draft returns a draft for room with the data {"n":n}.
func draft(room streams.Room, n int) streams.Draft {
	return streams.Draft{Room: room, Type: streams.DefaultType, Data: fmt.Appendf(nil, `{"n":%d}`, n), Retention: keep()}
}

// keyed returns a draft with an idempotency key.
func keyed(room streams.Room, n int, key string) streams.Draft {
	d := draft(room, n)
	d.Key = key
	return d
}

// drafts returns n drafts for room, numbered from 0.
func drafts(room streams.Room, n int) []streams.Draft {
	all := make([]streams.Draft, n)
	for i := range all {
		all[i] = draft(room, i)
	}
	return all
}

// bounded returns a context with a time limit for one call of a log.
func (t *test) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.ctx, waitLimit)
}

// try appends to log and returns one receipt per draft. It is safe for concurrent use.
func (t *test) try(log streams.Log, drafts ...streams.Draft) []streams.Receipt {
	t.Helper()
	ctx, cancel := t.bounded()
	defer cancel()
	receipts := log.Append(ctx, drafts)
	if len(receipts) != len(drafts) {
		t.Errorf("Append of %d drafts gave %d receipts", len(drafts), len(receipts))
		return make([]streams.Receipt, len(drafts))
	}
	return receipts
}

// append appends drafts that must all succeed, and returns their ids. It is safe for
// concurrent use.
func (t *test) append(drafts ...streams.Draft) []streams.ID {
	t.Helper()
	return t.appendTo(t.Log, drafts...)
}

func (t *test) appendTo(log streams.Log, drafts ...streams.Draft) []streams.ID {
	t.Helper()
	ids := make([]streams.ID, len(drafts))
	for i, r := range t.try(log, drafts...) {
		if r.Err != nil {
			t.Errorf("append draft %d of %d to room %q: %v", i, len(drafts), drafts[i].Room, r.Err)
		}
		ids[i] = r.ID
	}
	return ids
}

// upTo returns a limit of n events, of any size.
func upTo(n int) streams.ReadLimit { return streams.ReadLimit{Events: n, Bytes: 1 << 30} }

// after calls After, which must succeed. It is safe for concurrent use.
func (t *test) after(room streams.Room, after, through streams.ID, limit int) []*streams.Event {
	t.Helper()
	ctx, cancel := t.bounded()
	defer cancel()
	page, err := t.Log.After(ctx, room, after, through, upTo(limit))
	if err != nil {
		t.Errorf("After(%q, %s, %s, %d): %v", room, after, through, limit, err)
	}
	return page.Events
}

func (t *test) before(room streams.Room, before streams.ID, limit int) []*streams.Event {
	t.Helper()
	ctx, cancel := t.bounded()
	defer cancel()
	page, err := t.Log.Before(ctx, room, before, upTo(limit))
	if err != nil {
		t.Errorf("Before(%q, %s, %d): %v", room, before, limit, err)
	}
	return page.Events
}

// all reads the whole room in pages, so that a limit of the log itself is noticed.
func (t *test) all(room streams.Room) []*streams.Event {
	t.Helper()
	const page = 500
	var events []*streams.Event
	var from streams.ID
	for {
		got := t.after(room, from, end(), page)
		events = append(events, got...)
		if len(got) < page {
			return events
		}
		from = got[len(got)-1].ID
	}
}

func (t *test) watermarks(rooms ...streams.Room) streams.Watermarks {
	t.Helper()
	ctx, cancel := t.bounded()
	defer cancel()
	w, err := t.Log.Watermarks(ctx, 0, rooms)
	if err != nil {
		t.Fatalf("Watermarks: %v", err)
	}
	if len(w.Tails) != len(rooms) {
		t.Fatalf("Watermarks of %d rooms gave %d tails", len(rooms), len(w.Tails))
	}
	return w
}

// eventually waits until cond holds.
func (t *test) eventually(what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", waitLimit, what)
		}
		time.Sleep(pollEvery)
	}
}

// sameIDs checks that got equals want, in order.
func (t *test) sameIDs(what string, want, got []streams.ID) {
	t.Helper()
	if d := Compare(want, got); !d.OK() {
		t.Errorf("%s: %s", what, d)
	}
}

// chained checks that each event's Prev is the id of the event before it.
func (t *test) chained(what string, events []*streams.Event) {
	t.Helper()
	for i := 1; i < len(events); i++ {
		if events[i].Prev != events[i-1].ID {
			t.Errorf("%s: event %d of %d has Prev %s, want the id before it, %s",
				what, i, len(events), events[i].Prev, events[i-1].ID)
		}
	}
}

// rising checks that ids strictly rise.
func (t *test) rising(what string, ids []streams.ID) {
	t.Helper()
	for i := 1; i < len(ids); i++ {
		if !ids[i-1].Before(ids[i]) {
			t.Errorf("%s: id %d is %s, not after %s", what, i, ids[i], ids[i-1])
		}
	}
}

// previous returns the position immediately before id.
func previous(id streams.ID) streams.ID {
	if id.Seq() == 0 {
		return streams.MakeID(id.Millis()-1, 1<<64-1, id.Partition())
	}
	return streams.MakeID(id.Millis(), id.Seq()-1, id.Partition())
}

// idsOf returns the ids of events.
func idsOf(events []*streams.Event) []streams.ID {
	ids := make([]streams.ID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// sorted returns ids in ascending order.
func sorted(ids []streams.ID) []streams.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, streams.ID.Compare)
	return ids
}
