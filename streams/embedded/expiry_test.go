package embedded

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/streams"
)

// A clock changes only when add is called.
type clock struct {
	mu sync.Mutex // guards t
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// countKeys returns the number of keys of a kind in the store.
func countKeys(t testing.TB, l *Log, kind byte) int {
	t.Helper()
	iter, err := l.store.db.NewIter(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer iter.Close()
	n := 0
	for ok := iter.SeekGE([]byte{kind}); ok && iter.Key()[0] == kind; ok = iter.Next() {
		n++
	}
	return n
}

// The events of an inactive room are removed after their age, and its record a TailLife
// later. Then UnrecordedBefore covers the room. In the end nothing of it is stored.
func TestInactiveRoomsLeaveNothingBehind(t *testing.T) {
	const rooms = 3 * maxSwept / 2 // more than one step of the sweep
	clock := newClock()
	l := openOn(t, vfs.NewMem(), Options{Now: clock.now, SweepEvery: time.Millisecond, TailLife: 48 * time.Hour})
	floor := mustWatermarks(t, l).Floor
	var names []streams.Room
	var last streams.ID
	for i := range rooms {
		names = append(names, streams.Room(fmt.Sprint("room-", i)))
		last = mustAppend(t, l, keyed(names[i], 1), draft(names[i], 2))[1]
	}

	clock.add(time.Hour)
	if got := mustRead(t, l, names[0]); len(got) != 0 {
		t.Errorf("an expired room has %d events to read, swept or not", len(got))
	}
	eventually(t, "all events are gone", func() bool { return countKeys(t, l, kindEvent) == 0 })
	e := mustWatermarks(t, l, names...)
	if e.Tails[rooms-1] != last || e.Base() != floor {
		t.Errorf("tail %s, base %s; want %s and the floor %s", e.Tails[rooms-1], e.Base(), last, floor)
	}
	if n := countKeys(t, l, kindKey); n != rooms {
		t.Errorf("%d idempotency records kept after an hour, want %d", n, rooms)
	}

	clock.add(23 * time.Hour)
	if r := l.Append(t.Context(), []streams.Draft{keyed("room-0", 1)})[0]; r.Err != nil || r.Replayed {
		t.Errorf("an expired key: %+v, want the event stored again", r)
	}
	eventually(t, "the first idempotency records are gone", func() bool { return countKeys(t, l, kindKey) == 1 })

	clock.add(25*time.Hour + time.Second)
	eventually(t, "the records are gone", func() bool { return countKeys(t, l, kindRoom) == 1 })
	e = mustWatermarks(t, l, names...)
	if !e.Tails[1].IsZero() || e.Base() != last {
		t.Errorf("tail %s, base %s; want no tail, and the last event of the deleted records, %s", e.Tails[1], e.Base(), last)
	}
	existing := draft("room-1", 3)
	existing.ExistingRoom = true
	receipts := l.Append(t.Context(), []streams.Draft{existing, draft("room-1", 3)})
	if !errors.Is(receipts[0].Err, streams.ErrNewRoom) || receipts[1].Err != nil || !receipts[1].NewRoom {
		t.Errorf("a room without a record: %+v, want ErrNewRoom and then a new room", receipts)
	}
	if prev := mustRead(t, l, "room-1")[0].Prev; prev != last {
		t.Errorf("the next event of a room without a record has Prev %s, want the base, %s", prev, last)
	}

	clock.add(100 * 24 * time.Hour)
	for _, kind := range []byte{kindEvent, kindKey} {
		eventually(t, "all is removed", func() bool { return countKeys(t, l, kind) == 0 })
	}
	clock.add(100 * 24 * time.Hour)
	for _, kind := range []byte{kindRoom, kindExpiry} {
		eventually(t, "all is removed", func() bool { return countKeys(t, l, kind) == 0 })
	}
}

// Expired events and keys are not visible, also before the sweep removes them.
func TestExpiredDataIsInvisibleBeforeTheSweep(t *testing.T) {
	clock := newClock()
	l := openOn(t, vfs.NewMem(), Options{Now: clock.now, SweepEvery: time.Hour, KeyLife: 2 * time.Hour})
	ids := mustAppend(t, l, keyed("a", 1), draft("a", 2)) // with an age of one hour

	clock.add(time.Hour - time.Millisecond)
	sameIDs(t, "a moment before", ids, idsOf(mustRead(t, l, "a")))
	clock.add(time.Millisecond)
	sameIDs(t, "after an hour", nil, idsOf(mustRead(t, l, "a")))
	if newest, err := l.Before(t.Context(), "a", end, upTo(9)); err != nil || len(newest.Events) != 0 {
		t.Errorf("Before gives %d events, %v; want none", len(newest.Events), err)
	}
	if countKeys(t, l, kindEvent) != 2 {
		t.Error("the sweep has removed the events too early for this test")
	}

	clock.add(time.Hour - time.Millisecond)
	if r := l.Append(t.Context(), []streams.Draft{keyed("a", 1)})[0]; !r.Replayed || r.ID != ids[0] {
		t.Errorf("a key a moment before the end of its life: %+v, want a replay of %s", r, ids[0])
	}
	clock.add(time.Millisecond)
	ids = append(ids, mustAppend(t, l, keyed("a", 1))...)
	events := mustRead(t, l, "a")
	sameIDs(t, "after the next append", ids[2:], idsOf(events))
	if events[0].Prev != ids[1] {
		t.Errorf("the next event has Prev %s, want %s", events[0].Prev, ids[1])
	}
}

// A read that no longer finds a room's record knows that the room may have had events: its
// UnrecordedBefore covers them, also if the sweep deletes the record during the read.
// In each of many rounds the sweep has one chance to come in between.
func TestUnrecordedBeforeCoversEveryMissingRecord(t *testing.T) {
	clock := newClock()
	l := openOn(t, vfs.NewMem(), Options{Now: clock.now, SweepEvery: 100 * time.Microsecond, TailLife: time.Millisecond})
	for i := range 300 {
		room := streams.Room(fmt.Sprint("room-", i))
		d := draft(room, i)
		d.Retention.Age = time.Millisecond
		id := mustAppend(t, l, d)[0]
		clock.add(10 * time.Millisecond)
		var w streams.Watermarks
		for deadline := time.Now().Add(waitLimit); ; {
			if w = mustWatermarks(t, l, room); w.Tails[0].IsZero() {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the record stays")
			}
		}
		if w.UnrecordedBefore.Before(id) {
			t.Fatalf("room %d has no record, UnrecordedBefore is %s, and the room had event %s", i, w.UnrecordedBefore, id)
		}
	}
}

// Records that were deleted under a short TailLife are covered by UnrecordedBefore, also
// after a restart with a longer one.
func TestLongerTailLifeKeepsUnrecordedBefore(t *testing.T) {
	clock, fs := newClock(), vfs.NewMem()
	o := Options{Now: clock.now, SweepEvery: time.Millisecond, TailLife: time.Minute}
	l := openOn(t, fs, o)
	id := mustAppend(t, l, draft("a", 1))[0]
	clock.add(2 * time.Hour)
	eventually(t, "the record is gone", func() bool { return countKeys(t, l, kindRoom) == 0 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.TailLife = 365 * 24 * time.Hour
	if e := mustWatermarks(t, openOn(t, fs, o), "a"); e.Base() != id || !e.Tails[0].IsZero() {
		t.Errorf("base %s, want %s, the event of the record that was deleted under the shorter life", e.Base(), id)
	}
}

// Ids rise through every jump of the clock, also over restarts.
func TestClockJumps(t *testing.T) {
	clock, fs := newClock(), vfs.NewMem()
	var last streams.ID
	for _, jump := range []time.Duration{0, time.Second, -2 * time.Second, -time.Hour, 100 * time.Hour, -200 * time.Hour, 0} {
		clock.add(jump)
		l := openOn(t, fs, Options{Now: clock.now, SweepEvery: fastSweep})
		for i := range 10 {
			transient := draft("transient", i)
			transient.Retention.Events = 0
			for _, id := range mustAppend(t, l, draft("a", i), transient, draft("a", i)) {
				if !last.Before(id) {
					t.Fatalf("after a jump by %s: id %s is not after %s", jump, id, last)
				}
				last = id
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A model of one log records every event that was appended and every cursor that a client
// may hold.
type model struct {
	clock  *clock
	fs     vfs.FS
	o      Options
	log    *Log
	rooms  []streams.Room
	events map[streams.Room][]streams.ID // all events, in order, removed or not
	ids    []streams.ID                  // the floor and all ids: the cursors that a client may hold
}

// For every history and every cursor, the log either returns exactly the events after the
// cursor, or its watermarks show that some may be missing.
func TestNoLossIsSilent(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{
			clock: newClock(), fs: vfs.NewMem(), rooms: []streams.Room{"a", "b", "c"},
			events: map[streams.Room][]streams.ID{},
		}
		m.o = Options{Now: m.clock.now, SweepEvery: time.Millisecond, TailLife: 2 * time.Hour, KeyLife: time.Hour}
		m.open(rt)
		m.ids = append(m.ids, m.log.store.floor)
		defer func() { m.log.Close() }()
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"wait":   func(rt *rapid.T) { m.clock.add(drawSpan(rt)) },
			"clock steps back": func(rt *rapid.T) {
				m.clock.add(-time.Duration(rapid.IntRange(1, 5000).Draw(rt, "ms back")) * time.Millisecond)
			},
			"restart": func(rt *rapid.T) {
				if err := m.log.Close(); err != nil {
					rt.Fatal(err)
				}
				m.o.TailLife = time.Duration(rapid.IntRange(1, 300).Draw(rt, "tail life, minutes")) * time.Minute
				m.open(rt)
			},
			"let it sweep": func(*rapid.T) { time.Sleep(2 * time.Millisecond) },
			"":             m.check,
		})
	})
}

// drawSpan returns a time between 0 and longer than the life of every record.
func drawSpan(rt *rapid.T) time.Duration {
	return time.Duration(rapid.OneOf(
		rapid.IntRange(0, 1000), rapid.IntRange(0, 7200_000), rapid.Just(400*60_000),
	).Draw(rt, "ms")) * time.Millisecond
}

func (m *model) open(rt *rapid.T) {
	l, err := open("data", m.o, m.fs)
	if err != nil {
		rt.Fatal(err)
	}
	m.log = l
}

func (m *model) append(rt *rapid.T) {
	room := rapid.SampledFrom(m.rooms).Draw(rt, "room")
	batch := make([]streams.Draft, rapid.SampledFrom([]int{1, 3, 100}).Draw(rt, "n"))
	keep := streams.Retention{
		Events: rapid.SampledFrom([]int{0, 1, 20, 1000}).Draw(rt, "cap"),
		Age:    rapid.SampledFrom([]time.Duration{time.Millisecond, time.Minute, time.Hour}).Draw(rt, "age"),
	}
	for i := range batch {
		batch[i] = draft(room, i)
		batch[i].Retention = keep
	}
	for _, r := range m.log.Append(rt.Context(), batch) {
		if r.Err != nil {
			rt.Fatal(r.Err)
		}
		if newest := m.ids[len(m.ids)-1]; !newest.Before(r.ID) {
			rt.Fatalf("id %s is not after %s", r.ID, newest)
		}
		m.ids = append(m.ids, r.ID)
		if keep.Events > 0 {
			m.events[room] = append(m.events[room], r.ID)
		}
	}
}

// check compares the log with the model for cursors of all ages.
func (m *model) check(rt *rapid.T) {
	for _, room := range m.rooms {
		w, err := m.log.Watermarks(rt.Context(), 0, []streams.Room{room})
		if err != nil {
			rt.Fatal(err)
		}
		for i := 0; i < len(m.ids); i += 1 + len(m.ids)/5 {
			m.checkCursor(rt, room, m.ids[i], w)
		}
	}
}

func (m *model) checkCursor(rt *rapid.T, room streams.Room, cursor streams.ID, w streams.Watermarks) {
	page, err := m.log.After(rt.Context(), room, cursor, w.Last, upTo(1_000_000))
	if err != nil {
		rt.Fatal(err)
	}
	got := page.Events
	var want []streams.ID
	for _, id := range m.events[room] {
		if cursor.Before(id) {
			want = append(want, id)
		}
	}
	if !complete(cursor, got, w) {
		return // the client gets a gap notice
	}
	if len(got) != len(want) {
		rt.Fatalf("room %s, cursor %s: %d events, and the watermarks do not show that %d are missing (watermarks %+v)",
			room, cursor, len(got), len(want)-len(got), w)
	}
	for i, event := range got {
		if event.ID != want[i] || i > 0 && event.Prev != want[i-1] {
			rt.Fatalf("room %s: event %d is %s after %s, want %s", room, i, event.ID, event.Prev, want[i])
		}
	}
}

// complete reports whether got contains all events after the cursor, by the rules that a
// reader of the log uses.
func complete(cursor streams.ID, got []*streams.Event, w streams.Watermarks) bool {
	switch {
	case len(got) > 0:
		return !cursor.Before(got[0].Prev)
	case !w.Tails[0].IsZero():
		return !cursor.Before(w.Tails[0])
	default:
		return !cursor.Before(w.Base())
	}
}
