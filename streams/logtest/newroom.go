package logtest

import (
	"errors"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// existing returns a draft that must not create its room.
func existing(room streams.Room, n int) streams.Draft {
	d := draft(room, n)
	d.ExistingRoom = true
	return d
}

// A room exists from its first event on, also after its events have expired. The receipt of
// that event says that the room is new. A draft for existing rooms does not create one.
func testNewRoom(t *test) {
	room, other := t.room("new"), t.room("other")
	feed := t.record(t.Log)
	feed.join(room, 1)

	t.isNew("the first draft, for existing rooms", existing(room, 1), streams.ErrNewRoom, false)
	if tail := t.watermarks(room).Tails[0]; !tail.IsZero() || len(t.all(room)) != 0 {
		t.Errorf("a refused draft left %d events and the tail %s", len(t.all(room)), tail)
	}
	t.isNew("the first event", draft(room, 2), nil, true)
	t.isNew("the second event", draft(room, 3), nil, false)
	t.isNew("an event for existing rooms", existing(room, 4), nil, false)
	if t.Second != nil {
		if r := t.try(t.Second, existing(room, 5))[0]; r.Err != nil || r.NewRoom {
			t.Errorf("an event for existing rooms on another node: %+v", r)
		}
	}
	events := t.all(room)
	t.chained("new", events)
	t.sameIDs("live", idsOf(events), idsOf(feed.through(events[len(events)-1].ID)))

	short := draft(other, 1)
	short.Retention.Age = 50 * time.Millisecond
	t.isNew("the first event", short, nil, true)
	t.eventually("the room is empty", func() bool { return len(t.all(other)) == 0 })
	t.isNew("an event after the expiry", existing(other, 2), nil, false)
}

// Within a batch each draft sees the rooms that earlier drafts have created, and a draft
// that is refused does not affect the others.
func testNewRoomInBatch(t *test) {
	room, other := t.room("new"), t.room("other")
	receipts := t.try(t.Log, existing(room, 1), draft(room, 2), existing(other, 3), existing(room, 4), draft(room, 5))
	for i, want := range []streams.Receipt{{Err: streams.ErrNewRoom}, {NewRoom: true}, {Err: streams.ErrNewRoom}, {}, {}} {
		if r := receipts[i]; !errors.Is(r.Err, want.Err) || r.NewRoom != want.NewRoom || r.ID.IsZero() != (want.Err != nil) {
			t.Errorf("draft %d: %+v, want new room %v and error %v", i, r, want.NewRoom, want.Err)
		}
	}
	t.sameIDs("logged", []streams.ID{receipts[1].ID, receipts[3].ID, receipts[4].ID}, idsOf(t.all(room)))
	t.sameIDs("logged in the other room", nil, idsOf(t.all(other)))
}

// A draft for existing rooms that is refused leaves no record of its key. The repeat of a
// stored draft is a replay, which is never of a new room.
func testNewRoomKey(t *test) {
	room := t.room("new")
	d := keyed(room, 1, "k")
	d.ExistingRoom = true
	t.isNew("the first draft, for existing rooms", d, streams.ErrNewRoom, false)
	d.ExistingRoom = false
	t.isNew("the same draft for any room", d, nil, true)
	for _, only := range []bool{false, true} {
		d.ExistingRoom = only
		if r := t.try(t.Log, d)[0]; r.Err != nil || !r.Replayed || r.NewRoom {
			t.Errorf("the repeat, for existing rooms %v: %+v, want a replay", only, r)
		}
	}
}

// The log keeps nothing of an ephemeral room, so its events do not create it, and a draft for
// existing rooms is accepted.
func testNewRoomEphemeral(t *test) {
	room := t.room("transient")
	for i := range 2 {
		d := existing(room, i)
		d.Retention.Events = 0
		t.isNew("an ephemeral event", d, nil, false)
	}
	keyed := keyed(room, 3, "k")
	keyed.Retention.Events, keyed.ExistingRoom = 0, true
	t.isNew("an ephemeral event with a key", keyed, nil, false)
	t.isNew("a draft for existing rooms", existing(room, 4), streams.ErrNewRoom, false)
	keyed.Retention = keep()
	if r := t.try(t.Log, keyed)[0]; r.Err != nil || !r.Replayed {
		t.Errorf("the repeat in a room that does not exist: %+v, want a replay", r)
	}
}

// isNew appends a draft that is not a repeat, and checks its receipt.
func (t *test) isNew(what string, d streams.Draft, err error, newRoom bool) {
	t.Helper()
	r := t.try(t.Log, d)[0]
	if !errors.Is(r.Err, err) || r.NewRoom != newRoom || r.Replayed || r.ID.IsZero() != (err != nil) {
		t.Errorf("%s: %+v, want new room %v and error %v", what, r, newRoom, err)
	}
}
