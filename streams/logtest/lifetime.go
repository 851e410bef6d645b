package logtest

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A restart keeps events, keys, tails and the order of ids.
func testRestart(t *test) {
	if t.Reopen == nil {
		t.Skip("the harness cannot reopen its log")
	}
	room, expired := t.room("stays"), t.room("expired")
	ids := t.append(drafts(room, 50)...)
	once := keyed(room, 99, "k")
	ids = append(ids, t.append(once)...)
	short := draft(expired, 1)
	short.Retention.Age = 50 * time.Millisecond
	tail := t.append(short)[0]
	transient := draft(t.room("transient"), 1)
	transient.Retention.Events = 0
	last := t.append(transient)[0]
	before := t.watermarks(room, expired)

	t.Log = t.Reopen()

	t.sameIDs("events", ids, idsOf(t.all(room)))
	if r := t.try(t.Log, once)[0]; r.Err != nil || !r.Replayed || r.ID != ids[len(ids)-1] {
		t.Errorf("a repeat after the restart: %+v, want a replay of %s", r, ids[len(ids)-1])
	}
	if r := t.try(t.Log, keyed(room, 100, "k"))[0]; !errors.Is(r.Err, streams.ErrKeyReused) {
		t.Errorf("the key with other data after the restart: %+v, want ErrKeyReused", r)
	}
	now := t.watermarks(room, expired)
	if now.Floor != before.Floor || now.Tails[0] != before.Tails[0] || now.Tails[1] != tail {
		t.Errorf("watermarks are %+v after the restart, were %+v", now, before)
	}
	if now.Last.Before(last) {
		t.Errorf("Last is %s after the restart, was %s at least", now.Last, last)
	}

	feed := t.record(t.Log)
	feed.join(room, 1)
	next := t.append(draft(room, 101), draft(expired, 2))
	if !last.Before(next[0]) {
		t.Errorf("id %s after the restart is not after %s, which was assigned before", next[0], last)
	}
	t.sameIDs("events", append(ids, next[0]), idsOf(t.all(room)))
	t.chained("over the restart", t.all(room))
	t.sameIDs("live", next[:1], idsOf(feed.through(next[0])))
	t.eventually("the short event is gone", func() bool {
		events := t.all(expired)
		return len(events) == 1 && events[0].ID == next[1] || len(events) == 2 && events[0].ID == tail
	})
	if events := t.all(expired); events[len(events)-1].Prev != tail {
		t.Errorf("the expired room's next event has Prev %s, want %s", events[len(events)-1].Prev, tail)
	}
}

// Two nodes share one order, the idempotency keys, and live events.
func testNodes(t *test) {
	if t.Second == nil {
		t.Skip("the store serves only one process")
	}
	room := t.room("shared")
	feed := t.record(t.Log)
	second := t.record(t.Second)
	feed.join(room, 1)
	second.join(room, 1)

	var ids []streams.ID
	for i := range 50 {
		ids = append(ids, t.append(draft(room, i))...)
		ids = append(ids, t.appendTo(t.Second, draft(room, i))...)
	}
	once := keyed(room, 99, "k")
	ids = append(ids, t.append(once)...)
	if r := t.try(t.Second, once)[0]; r.Err != nil || !r.Replayed || r.ID != ids[len(ids)-1] {
		t.Errorf("a repeat on the other node: %+v, want a replay of %s", r, ids[len(ids)-1])
	}

	t.rising("ids of two nodes in turn", ids)
	t.sameIDs("logged", ids, idsOf(t.all(room)))
	t.chained("shared", t.all(room))
	t.sameIDs("live on the first node", ids, idsOf(feed.through(ids[len(ids)-1])))
	t.sameIDs("live on the second node", ids, idsOf(second.through(ids[len(ids)-1])))
}

// A call with a cancelled context returns ErrUnavailable or succeeds, and the log stays
// intact.
func testCancelled(t *test) {
	room := t.room("cancelled")
	ids := t.append(draft(room, 1))
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()

	if r := t.Log.Append(ctx, drafts(room, 2)); len(r) != 2 {
		t.Errorf("Append gave %d receipts, want 2", len(r))
	} else {
		for _, r := range r {
			if r.Err != nil && !errors.Is(r.Err, streams.ErrUnavailable) {
				t.Errorf("Append: %v, want ErrUnavailable", r.Err)
			}
		}
	}
	check := func(call string, err error) {
		if err != nil && !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
	_, err := t.Log.After(ctx, room, streams.ID{}, end(), upTo(10))
	check("After", err)
	_, err = t.Log.Before(ctx, room, end(), upTo(10))
	check("Before", err)
	_, err = t.Log.Watermarks(ctx, 0, []streams.Room{room})
	check("Watermarks", err)

	ids = append(ids, t.append(draft(room, 3))...)
	events := t.all(room)
	t.chained("cancelled", events)
	if events[0].ID != ids[0] || events[len(events)-1].ID != ids[1] {
		t.Errorf("the room has %v, want it to start and end with %v", idsOf(events), ids)
	}
}

// After Close every call returns ErrClosed, and every feed has ended.
func testClosed(t *test) {
	room := t.room("closed")
	t.append(draft(room, 1))
	feed := t.record(t.Log)
	feed.join(room, 1)
	if err := t.Log.Ping(t.ctx); err != nil {
		t.Errorf("Ping of an open log: %v", err)
	}
	if err := t.Log.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	select {
	case <-feed.done:
	case <-time.After(waitLimit):
		t.Fatal("Close did not end a feed")
	}

	want := func(call string, err error) {
		if !errors.Is(err, streams.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", call, err)
		}
	}
	for _, r := range t.try(t.Log, draft(room, 2), draft(room, 3)) {
		want("Append", r.Err)
	}
	_, err := t.Log.After(t.ctx, room, streams.ID{}, end(), upTo(1))
	want("After", err)
	_, err = t.Log.Before(t.ctx, room, end(), upTo(1))
	want("Before", err)
	_, err = t.Log.Watermarks(t.ctx, 0, nil)
	want("Watermarks", err)
	want("Ping", t.Log.Ping(t.ctx))
	late := t.record(t.Log)
	late.feed.Join(room, 2)
	late.close()
}
