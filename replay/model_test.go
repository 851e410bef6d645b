package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A world is a model of one partition: the events that a log keeps, and every event that
// was ever published.
type world struct {
	clock            uint64 // sequence of the last id; every id has the same millisecond
	floor            streams.ID
	floors           []streams.ID // every floor so far
	unrecordedBefore streams.ID
	kept             map[streams.Room][]*streams.Event
	tails            map[streams.Room]streams.ID
	logged           map[streams.Room][]*streams.Event // kept or trimmed, but not lost
	ever             map[streams.Room][]*streams.Event

	fail  int   // number of reads that fail next
	sizes []int // of the data of the next events; 1 byte without any
	most  int   // the most data that one read has returned
}

func newWorld() *world {
	return &world{
		clock: 100, floor: at(100), floors: []streams.ID{at(100)}, unrecordedBefore: at(1),
		kept:   map[streams.Room][]*streams.Event{},
		tails:  map[streams.Room]streams.ID{},
		logged: map[streams.Room][]*streams.Event{},
		ever:   map[streams.Room][]*streams.Event{},
	}
}

// data is shared by the events of all worlds.
var data = bytes.Repeat([]byte("1"), 300<<10)

func at(seq uint64) streams.ID { return streams.MakeID(1, seq, 0) }

func (w *world) last() streams.ID { return at(w.clock) }

func (w *world) publish(room streams.Room) *streams.Event {
	prev := streams.Later(w.tails[room], w.floor)
	if w.tails[room].IsZero() {
		prev = streams.Later(prev, w.unrecordedBefore)
	}
	w.clock++
	size := 1
	if len(w.sizes) > 0 {
		size, w.sizes = w.sizes[0], w.sizes[1:]
	}
	e := &streams.Event{ID: at(w.clock), Prev: prev, Room: room, Type: "message", Data: data[:size]}
	w.kept[room] = append(w.kept[room], e)
	w.logged[room] = append(w.logged[room], e)
	w.ever[room] = append(w.ever[room], e)
	w.tails[room] = e.ID
	return e
}

// trim drops the oldest n events of a room. Dropping all of them models expiry.
func (w *world) trim(room streams.Room, n int) {
	w.kept[room] = w.kept[room][min(n, len(w.kept[room])):]
}

// forget drops the tail record of an expired room, and moves UnrecordedBefore past it.
func (w *world) forget(room streams.Room) {
	if len(w.kept[room]) == 0 {
		w.unrecordedBefore = streams.Later(w.unrecordedBefore, w.tails[room])
		delete(w.tails, room)
		delete(w.logged, room)
	}
}

// loseAfter loses every event after the position, as restoring a snapshot does, and raises
// the floor, as a node does that notices the loss.
func (w *world) loseAfter(to streams.ID) {
	upTo := func(events []*streams.Event) []*streams.Event {
		i, _ := slices.BinarySearchFunc(events, to.Next(), func(e *streams.Event, id streams.ID) int { return e.ID.Compare(id) })
		return events[:i:i]
	}
	for room := range w.kept {
		w.kept[room] = upTo(w.kept[room])
		w.logged[room] = upTo(w.logged[room])
		delete(w.tails, room)
		if n := len(w.logged[room]); n > 0 {
			w.tails[room] = w.logged[room][n-1].ID
		}
	}
	w.clock++
	w.floor = w.last()
	w.floors = append(w.floors, w.floor)
}

func (w *world) watermarks(rooms []streams.Room) streams.Watermarks {
	e := streams.Watermarks{Last: w.last(), Floor: w.floor, UnrecordedBefore: w.unrecordedBefore}
	for _, r := range rooms {
		e.Tails = append(e.Tails, w.tails[r])
	}
	return e
}

var errUnavailable = errors.New("unavailable")

func (w *world) After(_ context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if w.fail > 0 {
		w.fail--
		return streams.Page{}, errUnavailable
	}
	var found []*streams.Event
	for _, e := range w.kept[room] {
		if after.Before(e.ID) && !through.Before(e.ID) {
			found = append(found, e)
		}
	}
	return w.page(found, limit), nil
}

// page returns the first events that limit allows.
func (w *world) page(found []*streams.Event, limit streams.ReadLimit) (p streams.Page) {
	bytes := 0
	for _, e := range found {
		if !limit.WithoutData {
			bytes += len(e.Data)
		}
		if len(p.Events) == limit.Events || len(p.Events) > 0 && bytes > limit.Bytes {
			p.More = true
			break
		}
		if limit.WithoutData {
			e = &streams.Event{ID: e.ID, Prev: e.Prev, Room: e.Room, Type: e.Type}
		} else {
			w.most = max(w.most, bytes)
		}
		p.Events = append(p.Events, e)
	}
	return p
}

func (w *world) Before(_ context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	var found []*streams.Event
	for _, e := range w.kept[room] {
		if e.ID.Before(before) {
			found = append(found, e)
		}
	}
	slices.Reverse(found)
	p := w.page(found, limit)
	slices.Reverse(p.Events)
	return p, nil
}

// drain reads to the barrier. It calls disturb before each read.
func drain(t *rapid.T, r *replay.Reader, most int, disturb func()) []replay.Item {
	var all []replay.Item
	for range 10_000 {
		disturb()
		items, err := r.Next(context.Background(), most, 1<<20)
		if errors.Is(err, errUnavailable) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(items) == 0 {
			return all
		}
		all = append(all, items...)
	}
	t.Fatal("the reader does not end")
	return nil
}

// verify compares the items that a client received, from one position per room, with the
// model. The client may disconnect after any item, so its cursor must never pass an event
// that it did not receive.
func (w *world) verify(t *rapid.T, from map[streams.Room]streams.ID, barrier streams.ID, items []replay.Item) {
	var place streams.ID
	pos := map[streams.Room]streams.ID{}
	for r, p := range from {
		pos[r] = p
	}
	var cursor streams.ID
	for _, it := range items {
		if barrier.Before(it.Place) {
			t.Fatalf("%v is past the barrier %v", it.Place, barrier)
		}
		if it.Position.Before(cursor) {
			t.Fatalf("the cursor goes back from %v to %v", cursor, it.Position)
		}
		cursor = it.Position
		switch g := it.Gap; {
		case g != nil:
			w.justified(t, g, pos[g.Room], barrier)
			pos[g.Room] = it.Place
		case it.Event == nil:
			t.Fatal("an item without event and gap")
		case it.Place.Before(place):
			t.Fatalf("out of order: %v after %v", it.Place, place)
		case it.Place == place:
			t.Fatalf("repeated: %v", it.Place)
		default:
			w.nothingBetween(t, it.Event.Room, pos[it.Event.Room], it.Event.ID)
			pos[it.Event.Room], place = it.Event.ID, it.Event.ID
		}
		for room := range pos { // if the client disconnected here
			w.nothingBetween(t, room, pos[room], cursor.Next())
		}
	}
	for room := range pos {
		w.nothingBetween(t, room, pos[room], barrier.Next())
	}
}

// nothingBetween checks that no event was ever published strictly between two consecutive
// positions of a client.
func (w *world) nothingBetween(t *rapid.T, room streams.Room, after, before streams.ID) {
	for _, e := range w.ever[room] {
		if after.Before(e.ID) && e.ID.Before(before) {
			t.Fatalf("missing: %v of %s, between %v and %v, without a gap notice", e.ID, room, after, before)
		}
	}
}

// justified checks that events may be missing in a gap.
func (w *world) justified(t *rapid.T, g *replay.Gap, pos, barrier streams.ID) {
	switch g.Reason {
	case replay.Reset:
		if !pos.Before(w.floor) && !barrier.Before(pos) {
			t.Fatalf("an unjustified reset notice: at %v, floor %v", pos, w.floor)
		}
	case replay.Trimmed, replay.Expired:
		if pos.Before(w.unrecordedBefore) {
			return // unrecorded events may have existed
		}
		for _, floor := range w.floors {
			if pos.Before(floor) && floor.Before(g.Before) {
				return // an earlier loss: only the last one is reported as reset
			}
		}
		for _, e := range w.ever[g.Room] {
			if pos.Before(e.ID) && e.ID.Before(g.Before) && !slices.Contains(w.kept[g.Room], e) {
				return
			}
		}
		t.Fatalf("an unjustified %s notice: %s from %v to %v", g.Reason, g.Room, pos, g.Before)
	default:
		t.Fatalf("reason %q", g.Reason)
	}
}

// A replay returns every kept event, in order and once, and a gap exactly where events may be
// missing. This holds for any position and any history of the log.
func TestReplayAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		rooms := []streams.Room{"a", "b", "c"}
		someRoom := rapid.SampledFrom(rooms)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			room := someRoom.Draw(t, "room")
			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "publish", "trim", "expire", "forget", "lose"}).Draw(t, "step") {
			case "publish":
				w.publish(room)
			case "trim":
				w.trim(room, rapid.IntRange(1, 5).Draw(t, "n"))
			case "expire":
				w.trim(room, 1000)
			case "forget":
				w.forget(room)
			case "lose":
				w.loseAfter(at(rapid.Uint64Range(w.floor.Seq(), w.clock).Draw(t, "to")))
			}
		}
		barrier := w.last()
		cursor := at(rapid.Uint64Range(90, w.clock+5).Draw(t, "cursor"))
		marks := w.watermarks(rooms)
		starts, err := replay.Locate(context.Background(), w, 1, 0, marks, rooms, replay.After(replay.CursorAt(cursor)))
		if err != nil {
			t.Fatal(err)
		}
		most := rapid.IntRange(1, 20).Draw(t, "page")
		reader := replay.NewReader(w, marks, starts)
		items := drain(t, reader, most, func() {
			if rapid.IntRange(0, 3).Draw(t, "stall") == 0 {
				reader.Drop()
			}
			if rapid.IntRange(0, 3).Draw(t, "unavailable") == 0 {
				w.fail = 1
			}
		})
		from := map[streams.Room]streams.ID{}
		for _, r := range rooms {
			from[r] = cursor
		}
		if barrier.Before(cursor) {
			for _, it := range items {
				if it.Gap == nil || it.Gap.Reason != replay.Reset || it.Place != barrier {
					t.Fatalf("a cursor ahead of the log got %+v", it)
				}
			}
			if len(items) != len(rooms) {
				t.Fatalf("%d gap notices, want one per room", len(items))
			}
			if at := items[len(items)-1].Position; at != barrier {
				t.Fatalf("the last cursor is %v, and later events before it would be missed; want %v", at, barrier)
			}
			return
		}
		w.verify(t, from, barrier, items)
		w.fail = 0
		checkResume(t, w, rooms, cursor, items)
	})
}

// checkResume disconnects the client after each item in turn and resumes with the item's
// Position. The client must receive the same items in total.
func checkResume(t *rapid.T, w *world, rooms []streams.Room, cursor streams.ID, items []replay.Item) {
	marks := w.watermarks(rooms)
	for i, it := range items {
		starts, err := replay.Locate(context.Background(), w, 1, 0, marks, rooms, replay.After(replay.CursorAt(it.Position)))
		if err != nil {
			t.Fatal(err)
		}
		rest := drain(t, replay.NewReader(w, marks, starts), 7, func() {})
		want := describe(items[i+1:])
		got := describe(rest)
		for _, s := range want {
			if !slices.Contains(got, s) {
				t.Fatalf("disconnected after item %d of cursor %v: %s is missing\nhave %v", i, cursor, s, got)
			}
		}
		for _, s := range got {
			if !slices.Contains(want, s) && !slices.Contains(describe(items[:i+1]), s) {
				t.Fatalf("disconnected after item %d: %s is new", i, s)
			}
			if s[0] == 'e' && !slices.Contains(want, s) {
				t.Fatalf("disconnected after item %d: %s is repeated", i, s)
			}
		}
	}
}

// describe returns one line per item.
func describe(items []replay.Item) []string {
	var s []string
	for _, it := range items {
		if it.Event != nil {
			s = append(s, fmt.Sprintf("event %v", it.Event.ID))
		} else {
			s = append(s, fmt.Sprintf("gap %s at %v", it.Gap.Room, it.Place))
		}
	}
	return s
}
