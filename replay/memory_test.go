package replay_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// many returns rooms with n events each, which alternate between the rooms, and a Reader of
// all of them.
func many(rooms, n, size int) (*world, *replay.Reader) {
	w := newWorld()
	names := make([]streams.Room, rooms)
	starts := make([]replay.RoomStart, rooms)
	for i := range names {
		names[i] = streams.Room(fmt.Sprint("r", i))
		starts[i] = replay.RoomStart{Room: names[i], Pos: w.last()}
	}
	for range n {
		for _, r := range names {
			w.sizes = []int{size}
			w.publish(r)
		}
	}
	return w, replay.NewReader(w, w.watermarks(names), starts)
}

// A Reader holds about HeldBytes, for any number of rooms and any size of events, and returns
// all events in order.
func TestReaderHoldsLittle(t *testing.T) {
	for _, c := range []struct{ rooms, events, size int }{
		{1, 600, 64 << 10}, {2, 100, 64 << 10}, {32, 20, 64 << 10}, {100, 20, 64 << 10}, {1000, 20, 64 << 10}, {300, 40, 5 << 10}, {5000, 3, 100},
	} {
		w, r := many(c.rooms, c.events, c.size)
		var last streams.ID
		events := 0
		for {
			items, err := r.Next(t.Context(), 256, 256<<10)
			if err != nil {
				t.Fatal(err)
			}
			if len(items) == 0 {
				break
			}
			bytes := 0
			for _, it := range items {
				if it.Event == nil || !last.Before(it.Event.ID) || len(it.Event.Data) != c.size {
					t.Fatalf("%d rooms: item %+v after %s", c.rooms, it, last)
				}
				last = it.Event.ID
				events++
				bytes += c.size
			}
			if bytes >= 256<<10+c.size {
				t.Fatalf("%d rooms: one call returned %d bytes", c.rooms, bytes)
			}
			if held := r.Pending(); held > replay.HeldBytes(c.rooms)*11/10 { // and pages of one event or 1 KiB
				t.Fatalf("%d rooms with events of %d bytes: %d bytes held, want at most %d", c.rooms, c.size, held, replay.HeldBytes(c.rooms))
			}
		}
		if events != c.rooms*c.events {
			t.Errorf("%d rooms: %d events, want %d", c.rooms, events, c.rooms*c.events)
		}
		if w.most > 256<<10 {
			t.Errorf("%d rooms: one read took %d bytes", c.rooms, w.most)
		}
	}
}

// A replay stays complete and in order if the client stops reading, events are trimmed and
// reads fail meanwhile.
func TestReplayWhileTheLogTrims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		rooms := []streams.Room{"a", "b", "c", "d", "e"}
		someRoom := rapid.SampledFrom(rooms)
		w.sizes = rapid.SliceOfN(rapid.SampledFrom([]int{1, 1000, 70 << 10, 300 << 10}), 60, 60).Draw(t, "sizes")
		for range rapid.IntRange(1, 60).Draw(t, "events") {
			w.publish(someRoom.Draw(t, "room"))
		}
		cursor := at(rapid.Uint64Range(100, w.clock).Draw(t, "cursor"))
		marks, barrier := w.watermarks(rooms), w.last()
		starts, err := replay.Locate(context.Background(), w, 1, 0, marks, rooms, replay.After(replay.CursorAt(cursor)))
		if err != nil {
			t.Fatal(err)
		}
		r := replay.NewReader(w, marks, starts)
		var all []replay.Item
		for range 10_000 {
			switch rapid.SampledFrom([]string{"", "", "drop", "fail", "trim", "publish"}).Draw(t, "disturbance") {
			case "drop":
				r.Drop()
				if r.Holds() || r.Pending() != 0 {
					t.Fatal("events are held after Drop")
				}
			case "fail":
				w.fail = 1
			case "trim":
				w.trim(someRoom.Draw(t, "room"), rapid.IntRange(1, 5).Draw(t, "n"))
			case "publish":
				w.publish(someRoom.Draw(t, "room"))
			}
			items, err := r.Next(context.Background(), rapid.IntRange(1, 20).Draw(t, "max"), rapid.IntRange(1, 200<<10).Draw(t, "bytes"))
			if errors.Is(err, errUnavailable) {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(items) == 0 {
				break
			}
			all = append(all, items...)
		}
		for _, it := range all {
			if it.Event != nil && len(it.Event.Data) == 0 {
				t.Fatalf("event %s has no data", it.Event.ID)
			}
		}
		from := map[streams.Room]streams.ID{}
		for _, room := range rooms {
			from[room] = cursor
		}
		w.verify(t, from, barrier, all)
	})
}

// failsOnce fails the read with which a room ends, once.
type failsOnce struct {
	*world
	failed bool
}

func (f *failsOnce) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if room == "z" && limit.Events == 1 && limit.WithoutData && !f.failed {
		f.failed = true
		return streams.Page{}, errUnavailable
	}
	return f.world.After(ctx, room, after, through, limit)
}

// An event never comes without its data, also if the read with which its room ends fails once,
// and the next page of the room is read with another limit.
func TestEventsKeepTheirData(t *testing.T) {
	w := newWorld()
	names := []streams.Room{"z"}
	for i := range 70 {
		names = append(names, streams.Room(fmt.Sprint("a", i)))
	}
	var starts []replay.RoomStart
	for _, n := range names {
		starts = append(starts, replay.RoomStart{Room: n, Pos: w.last()})
	}
	for range 3 {
		w.sizes = []int{100}
		w.publish("z")
	}
	for _, n := range names[1:] {
		w.sizes = []int{64 << 10}
		w.publish(n)
	}
	marks := w.watermarks(names)
	w.kept["z"] = w.kept["z"][:2] // a failover loses the newest event of z
	r := replay.NewReader(&failsOnce{world: w}, marks, starts)
	seen := 0
	for range 1000 {
		items, err := r.Next(t.Context(), 256, 256<<10)
		if err != nil {
			for _, n := range names[1:] {
				w.trim(n, 100) // these rooms expire, or the failover has lost them too
			}
			r.Drop() // what takeTurn does after 2 s when others wait, and what Shed does
			continue
		}
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if it.Event != nil {
				seen++
				if len(it.Event.Data) == 0 {
					t.Errorf("event %s of %s was delivered without its data", it.Event.ID, it.Event.Room)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no events")
	}
}

// Last starts with the newest events that fit into LastBytes.
func TestLastIsBoundedInBytes(t *testing.T) {
	w, _ := many(1, 20, 100<<10)
	rooms := []streams.Room{"r0"}
	for n, want := range map[int]int{1: 1, 5: 5, 20: replay.LastBytes / (100 << 10)} {
		starts, err := replay.Locate(t.Context(), w, 1, 0, w.watermarks(rooms), rooms, replay.Last(n))
		if err != nil {
			t.Fatal(err)
		}
		if from := at(w.clock - uint64(want)); starts[0].Pos != from {
			t.Errorf("last %d starts at %s, want %s", n, starts[0].Pos, from)
		}
	}
}
