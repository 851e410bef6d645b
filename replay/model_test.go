package replay_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// world is the whole truth about one partition: what a log keeps of it, and what
// there ever was.
type world struct {
	clock   uint64 // sequence of the last id; all within one millisecond is enough
	floor   streams.ID
	floors  []streams.ID // all that there were
	horizon streams.ID
	kept    map[streams.Room][]*streams.Event
	tails   map[streams.Room]streams.ID
	logged  map[streams.Room][]*streams.Event // kept or dropped since, but never lost
	ever    map[streams.Room][]*streams.Event

	fail int // the next so many reads fail
}

func newWorld() *world {
	return &world{
		clock: 100, floor: at(100), floors: []streams.ID{at(100)}, horizon: at(1),
		kept:   map[streams.Room][]*streams.Event{},
		tails:  map[streams.Room]streams.ID{},
		logged: map[streams.Room][]*streams.Event{},
		ever:   map[streams.Room][]*streams.Event{},
	}
}

func at(seq uint64) streams.ID { return streams.MakeID(1, seq, 0) }

func (w *world) last() streams.ID { return at(w.clock) }

func (w *world) publish(room streams.Room) *streams.Event {
	prev := streams.Later(w.tails[room], w.floor)
	if w.tails[room].IsZero() {
		prev = streams.Later(prev, w.horizon)
	}
	w.clock++
	e := &streams.Event{ID: at(w.clock), Prev: prev, Room: room, Type: "message"}
	w.kept[room] = append(w.kept[room], e)
	w.logged[room] = append(w.logged[room], e)
	w.ever[room] = append(w.ever[room], e)
	w.tails[room] = e.ID
	return e
}

// trim drops the oldest n events of a room; all of them is what expiry does.
func (w *world) trim(room streams.Room, n int) {
	w.kept[room] = w.kept[room][min(n, len(w.kept[room])):]
}

// forget drops the tail record of an expired room, and moves the horizon past it.
func (w *world) forget(room streams.Room) {
	if len(w.kept[room]) == 0 {
		w.horizon = streams.Later(w.horizon, w.tails[room])
		delete(w.tails, room)
		delete(w.logged, room)
	}
}

// goBack loses everything after the position, as a restored snapshot does, and
// raises the floor as a node does that notices.
func (w *world) goBack(to streams.ID) {
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

func (w *world) edges(rooms []streams.Room) streams.Watermarks {
	e := streams.Watermarks{Last: w.last(), Floor: w.floor, UnrecordedBefore: w.horizon}
	for _, r := range rooms {
		e.Tails = append(e.Tails, w.tails[r])
	}
	return e
}

var errAway = errors.New("away")

func (w *world) After(_ context.Context, room streams.Room, after, through streams.ID, limit int) ([]*streams.Event, error) {
	if w.fail > 0 {
		w.fail--
		return nil, errAway
	}
	var found []*streams.Event
	for _, e := range w.kept[room] {
		if after.Before(e.ID) && !through.Before(e.ID) && len(found) < limit {
			found = append(found, e)
		}
	}
	return found, nil
}

func (w *world) Before(_ context.Context, room streams.Room, before streams.ID, limit int) ([]*streams.Event, error) {
	var found []*streams.Event
	for _, e := range w.kept[room] {
		if e.ID.Before(before) {
			found = append(found, e)
		}
	}
	return found[max(0, len(found)-limit):], nil
}

// drain reads to the barrier; disturb runs before each read.
func drain(t *rapid.T, r *replay.Reader, most int, disturb func()) []replay.Item {
	var all []replay.Item
	for range 10_000 {
		disturb()
		items, err := r.Next(context.Background(), most)
		if errors.Is(err, errAway) {
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
	t.Fatal("the reader does not come to its end")
	return nil
}

// verify holds what a client is told, from one position per room, against the truth.
// The cursor must never be past what it was not told of: it may be cut after any item.
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
			w.owed(t, g, pos[g.Room], barrier)
			pos[g.Room] = it.Place
		case it.Event == nil:
			t.Fatal("an item that says nothing")
		case it.Place.Before(place):
			t.Fatalf("out of order: %v after %v", it.Place, place)
		case it.Place == place:
			t.Fatalf("repeated: %v", it.Place)
		default:
			w.none(t, it.Event.Room, pos[it.Event.Room], it.Event.ID)
			pos[it.Event.Room], place = it.Event.ID, it.Event.ID
		}
		for room := range pos { // were the client cut here
			w.none(t, room, pos[room], cursor.Next())
		}
	}
	for room := range pos {
		w.none(t, room, pos[room], barrier.Next())
	}
}

// none checks that there never was an event strictly between two positions that
// a client sees one after the other.
func (w *world) none(t *rapid.T, room streams.Room, after, before streams.ID) {
	for _, e := range w.ever[room] {
		if after.Before(e.ID) && e.ID.Before(before) {
			t.Fatalf("missing: %v of %s, between %v and %v, and no notice", e.ID, room, after, before)
		}
	}
}

// owed checks that a notice tells of something.
func (w *world) owed(t *rapid.T, g *replay.Gap, pos, barrier streams.ID) {
	switch g.Reason {
	case replay.Reset:
		if !pos.Before(w.floor) && !barrier.Before(pos) {
			t.Fatalf("a reset notice that is not owed: at %v, floor %v", pos, w.floor)
		}
	case replay.Trimmed, replay.Expired:
		if pos.Before(w.horizon) {
			return // what is not recorded may have been
		}
		for _, floor := range w.floors {
			if pos.Before(floor) && floor.Before(g.Before) {
				return // a loss of before the last one: only the last has its name
			}
		}
		for _, e := range w.ever[g.Room] {
			if pos.Before(e.ID) && e.ID.Before(g.Before) && !slices.Contains(w.kept[g.Room], e) {
				return
			}
		}
		t.Fatalf("a %s notice that is not owed: %s from %v to %v", g.Reason, g.Room, pos, g.Before)
	default:
		t.Fatalf("reason %q", g.Reason)
	}
}

// Whatever happened to a log, a replay from any position tells all that is
// there, in order and once, and a gap wherever something is missing and only there.
func TestReplayAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		rooms := []streams.Room{"a", "b", "c"}
		someRoom := rapid.SampledFrom(rooms)
		for range rapid.IntRange(0, 60).Draw(t, "steps") {
			room := someRoom.Draw(t, "room")
			switch rapid.SampledFrom([]string{"publish", "publish", "publish", "publish", "trim", "expire", "forget", "goBack"}).Draw(t, "step") {
			case "publish":
				w.publish(room)
			case "trim":
				w.trim(room, rapid.IntRange(1, 5).Draw(t, "n"))
			case "expire":
				w.trim(room, 1000)
			case "forget":
				w.forget(room)
			case "goBack":
				w.goBack(at(rapid.Uint64Range(w.floor.Seq(), w.clock).Draw(t, "to")))
			}
		}
		barrier := w.last()
		cursor := at(rapid.Uint64Range(90, w.clock+5).Draw(t, "cursor"))
		edges := w.edges(rooms)
		tracks, err := replay.Locate(context.Background(), w, 1, 0, edges, rooms, replay.After(replay.CursorAt(cursor)))
		if err != nil {
			t.Fatal(err)
		}
		most := rapid.IntRange(1, 20).Draw(t, "page")
		items := drain(t, replay.NewReader(w, edges, tracks), most, func() {
			if rapid.IntRange(0, 3).Draw(t, "away") == 0 {
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
					t.Fatalf("a cursor of the future got %+v", it)
				}
			}
			if len(items) != len(rooms) {
				t.Fatalf("%d notices, want one a room", len(items))
			}
			if at := items[len(items)-1].Position; at != barrier {
				t.Fatalf("the cursor is at %v then, and nothing before it would be heard; want %v", at, barrier)
			}
			return
		}
		w.verify(t, from, barrier, items)
		w.fail = 0
		checkResume(t, w, rooms, cursor, items)
	})
}

// checkResume cuts the client after each item in turn and lets it come back with
// the position that it was given: together it must have been told the same.
func checkResume(t *rapid.T, w *world, rooms []streams.Room, cursor streams.ID, items []replay.Item) {
	edges := w.edges(rooms)
	for i, it := range items {
		tracks, err := replay.Locate(context.Background(), w, 1, 0, edges, rooms, replay.After(replay.CursorAt(it.Position)))
		if err != nil {
			t.Fatal(err)
		}
		rest := drain(t, replay.NewReader(w, edges, tracks), 7, func() {})
		want := told(items[i+1:])
		got := told(rest)
		for _, s := range want {
			if !slices.Contains(got, s) {
				t.Fatalf("cut after item %d of cursor %v: %s is not told again\nhave %v", i, cursor, s, got)
			}
		}
		for _, s := range got {
			if !slices.Contains(want, s) && !slices.Contains(told(items[:i+1]), s) {
				t.Fatalf("cut after item %d: %s is new", i, s)
			}
			if s[0] == 'e' && !slices.Contains(want, s) {
				t.Fatalf("cut after item %d: %s is repeated", i, s)
			}
		}
	}
}

func told(items []replay.Item) []string {
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
