package embedded

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

// waitLimit bounds every wait for a condition.
const waitLimit = 30 * time.Second

var end = streams.MakeID(math.MaxUint64, math.MaxUint64, 0)

func draft(room streams.Room, n int) streams.Draft {
	return streams.Draft{
		Room: room, Type: streams.DefaultType, Data: fmt.Appendf(nil, `{"n":%d}`, n),
		Retention: streams.Retention{Events: 1000, Age: time.Hour},
	}
}

func keyed(room streams.Room, n int) streams.Draft {
	d := draft(room, n)
	d.Key = fmt.Sprint("key-", n)
	return d
}

// mustAppend appends drafts that must all succeed and returns their ids.
func mustAppend(t testing.TB, l *Log, drafts ...streams.Draft) []streams.ID {
	t.Helper()
	var ids []streams.ID
	for _, r := range l.Append(t.Context(), drafts) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

func mustRead(t testing.TB, l *Log, room streams.Room) []*streams.Event {
	t.Helper()
	page, err := l.After(t.Context(), room, streams.ID{}, end, upTo(1_000_000))
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

// upTo returns a limit of n events, of any size.
func upTo(n int) streams.ReadLimit { return streams.ReadLimit{Events: n, Bytes: 1 << 30} }

func mustWatermarks(t testing.TB, l *Log, rooms ...streams.Room) streams.Watermarks {
	t.Helper()
	e, err := l.Watermarks(t.Context(), 0, rooms)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func idsOf(events []*streams.Event) []streams.ID {
	var ids []streams.ID
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

func sameIDs(t testing.TB, what string, want, got []streams.ID) {
	t.Helper()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Errorf("%s: %s", what, d)
	}
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", waitLimit, what)
		}
	}
}

// A disk is a file system that can crash. Its syncs of Pebble's write-ahead log can be
// blocked or made to fail.
type disk struct {
	mem   *vfs.MemFS
	fails atomic.Bool // syncs return an error

	mu      sync.RWMutex // locked by a test to block syncs
	waiting atomic.Int32 // blocked syncs
}

func newDisk() *disk { return &disk{mem: vfs.NewCrashableMem()} }

func (d *disk) fs() vfs.FS { return errorfs.Wrap(d.mem, errorfs.InjectorFunc(d.inject)) }

// inject is called before each operation on a file. It returns the operation's error.
func (d *disk) inject(op errorfs.Op) error {
	if !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	switch op.Kind {
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		d.waiting.Add(1)
		d.mu.RLock()
		defer d.mu.RUnlock()
		d.waiting.Add(-1)
		if d.fails.Load() {
			return errors.New("the disk is full")
		}
	}
	return nil
}

func openOn(t *testing.T, fs vfs.FS, o Options) *Log {
	t.Helper()
	l, err := open("data", o, fs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// Before an event is synced, it is not visible: not in pages, not in watermarks, and not
// live.
func TestEventsAreInvisibleBeforeTheSync(t *testing.T) {
	d := newDisk()
	l := openOn(t, d.fs(), Options{})
	first := mustAppend(t, l, draft("old", 1))[0]
	feed := l.Feed(0)
	defer feed.Close()
	feed.Join("old", 1)
	<-feed.Messages()

	d.mu.Lock()
	var publishing sync.WaitGroup
	publishing.Go(func() { l.Append(t.Context(), []streams.Draft{draft("old", 2), draft("new", 3)}) })
	eventually(t, "Pebble shows the events", func() bool {
		_, found, err := l.store.room(l.store.db, "new")
		return found && err == nil && d.waiting.Load() > 0
	})
	e := mustWatermarks(t, l, "old", "new")
	if e.Last != first || e.Tails[0] != first || !e.Tails[1].IsZero() {
		t.Errorf("watermarks %+v while the sync is under way, want %s, and no tail of the new room", e, first)
	}
	sameIDs(t, "old room", []streams.ID{first}, idsOf(mustRead(t, l, "old")))
	sameIDs(t, "new room", nil, idsOf(mustRead(t, l, "new")))
	if newest, err := l.Before(t.Context(), "old", end, upTo(1)); err != nil || len(newest.Events) != 1 || newest.Events[0].ID != first {
		t.Errorf("Before gives %v, %v; want %s", idsOf(newest.Events), err, first)
	}
	if len(feed.Messages()) != 0 {
		t.Error("an event is live before it is on the disk")
	}
	d.mu.Unlock()
	publishing.Wait()

	if m := <-feed.Messages(); m.Event == nil || m.Event.Prev != first {
		t.Errorf("after the sync: %+v, want the event that follows %s", m, first)
	}
	if got := mustRead(t, l, "old"); len(got) != 2 {
		t.Errorf("after the sync the room has %d events, want 2", len(got))
	}
}

// A failed write is not acknowledged and never visible. Afterwards the log refuses appends,
// Ping fails, and reads still work.
func TestFailedWrite(t *testing.T) {
	d := newDisk()
	l := openOn(t, d.fs(), Options{SweepEvery: fastSweep})
	ids := mustAppend(t, l, draft("a", 1), keyed("a", 2))
	feed := l.Feed(0)
	defer feed.Close()
	feed.Join("a", 1)
	<-feed.Messages()

	d.fails.Store(true)
	for _, r := range l.Append(t.Context(), []streams.Draft{draft("a", 3), keyed("a", 4)}) {
		if !errors.Is(r.Err, streams.ErrUnavailable) {
			t.Errorf("the append that failed: %+v, want ErrUnavailable", r)
		}
	}
	d.fails.Store(false) // too late: Pebble has failed for good
	if r := l.Append(t.Context(), []streams.Draft{draft("a", 5)})[0]; !errors.Is(r.Err, streams.ErrRefused) {
		t.Errorf("an append after the failure: %+v, want ErrRefused", r)
	}
	if err := l.Ping(t.Context()); !errors.Is(err, streams.ErrUnavailable) {
		t.Errorf("Ping: %v, want ErrUnavailable", err)
	}
	sameIDs(t, "events", ids, idsOf(mustRead(t, l, "a")))
	if tail := mustWatermarks(t, l, "a").Tails[0]; tail != ids[1] {
		t.Errorf("tail %s, want %s", tail, ids[1])
	}
	if len(feed.Messages()) != 0 {
		t.Error("an event that failed is live")
	}
}

// After a crash that loses all unsynced data, every acknowledged event is stored, and new
// ids are after every id assigned before.
func TestCrashKeepsAcknowledgedEvents(t *testing.T) {
	d := newDisk()
	clock := newClock()
	want := map[streams.Room][]streams.ID{}
	var newest streams.ID
	for round := range 8 {
		l, err := open("data", Options{Now: clock.now, SweepEvery: fastSweep}, d.fs())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 60 {
			room := streams.Room(fmt.Sprint("room-", i%3))
			transient := draft("transient", i)
			transient.Retention.Events = 0
			ids := mustAppend(t, l, keyed(room, round*100+i), transient)
			want[room] = append(want[room], ids[0])
			if ids[0].Before(newest) {
				t.Fatalf("round %d: id %s, and %s was assigned before", round, ids[0], newest)
			}
			newest = ids[1]
			clock.add(time.Duration(i%5-2) * 100 * time.Millisecond) // sometimes backwards
		}
		crashed := &disk{mem: d.mem.CrashClone(vfs.CrashCloneCfg{})}
		l.Close()
		d = crashed
	}
	l := openOn(t, d.fs(), Options{Now: clock.now})
	for room, ids := range want {
		events := mustRead(t, l, room)
		sameIDs(t, string(room), ids, idsOf(events))
		for i := 1; i < len(events); i++ {
			if events[i].Prev != events[i-1].ID {
				t.Errorf("%s: Prev of event %d is %s, want %s", room, i, events[i].Prev, events[i-1].ID)
			}
		}
	}
	if r := l.Append(t.Context(), []streams.Draft{keyed("room-0", 0)})[0]; !r.Replayed || r.ID != want["room-0"][0] {
		t.Errorf("a repeat after the crashes: %+v, want a replay of %s", r, want["room-0"][0])
	}
}

// When the disk does not answer, an append fails at its time limit. The log works again
// when the disk does.
func TestStalledDisk(t *testing.T) {
	d := newDisk()
	l := openOn(t, d.fs(), Options{})
	d.mu.Lock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	drafts := []streams.Draft{keyed("a", 1)}
	r := l.Append(ctx, drafts)[0]
	if !errors.Is(r.Err, streams.ErrUnavailable) || !errors.Is(r.Err, context.DeadlineExceeded) {
		t.Errorf("an append to a stalled disk: %+v, want ErrUnavailable", r)
	}
	drafts[0] = streams.Draft{} // the caller may reuse the drafts after Append
	d.mu.Unlock()

	again := l.Append(t.Context(), []streams.Draft{keyed("a", 1)})[0]
	if again.Err != nil || !again.Replayed {
		t.Errorf("the repeat: %+v, want a replay: the first was stored after all", again)
	}
	sameIDs(t, "events", []streams.ID{again.ID}, idsOf(mustRead(t, l, "a")))
}

// Corrupt values cause errors, and the log continues to work.
func TestCorruptValues(t *testing.T) {
	l := openOn(t, vfs.NewMem(), Options{SweepEvery: fastSweep})
	id := mustAppend(t, l, draft("event", 1), draft("record", 1), keyed("key", 1))[0]
	for _, key := range [][]byte{
		eventKey("event", id), roomKey("record"), idempotencyKey("key", "key-1"),
		{kindExpiry}, expiryKey(1, []byte("?")), expiryKey(2, roomKey("record")),
	} {
		if err := l.store.db.Set(key, []byte("bad"), pebble.Sync); err != nil {
			t.Fatal(err)
		}
	}
	for _, room := range []streams.Room{"event", "record"} {
		if _, err := l.After(t.Context(), room, streams.ID{}, end, upTo(9)); !errors.Is(err, errCorrupt) || !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("After in room %q: %v, want ErrUnavailable and errCorrupt", room, err)
		}
	}
	if _, err := l.Watermarks(t.Context(), 0, []streams.Room{"record"}); !errors.Is(err, errCorrupt) {
		t.Errorf("Watermarks: %v, want errCorrupt", err)
	}
	if r := l.Append(t.Context(), []streams.Draft{keyed("key", 1)})[0]; !errors.Is(r.Err, streams.ErrRefused) {
		t.Errorf("append with a corrupt idempotency record: %+v, want ErrRefused", r)
	}
	mustAppend(t, l, draft("sound", 1))
}

func FuzzDecode(f *testing.F) {
	sound := &streams.Event{Prev: streams.MakeID(1, 2, 0), Type: "message", Data: []byte(`{"a":1}`)}
	b := make([]byte, eventBytes(sound))
	encodeEvent(b, sound)
	f.Add(b)
	f.Add(make([]byte, roomRecordBytes))
	f.Add(make([]byte, keyRecordBytes))
	f.Add(make([]byte, idBytes))
	f.Add(append(make([]byte, idBytes), 255))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, data, err := decodeEvent("room", streams.ID{}, b); err == nil {
			e.Data = data
			again := make([]byte, eventBytes(e))
			encodeEvent(again, e)
			same(t, "event", b, again)
		}
		if r, err := decodeRoomRecord(b); err == nil {
			again := make([]byte, roomRecordBytes)
			r.encode(again)
			same(t, "room record", b, again)
		}
		if r, err := decodeKeyRecord(b); err == nil {
			again := make([]byte, keyRecordBytes)
			r.encode(again)
			same(t, "idempotency record", b, again)
		}
		if id, err := decodeID(b); err == nil {
			same(t, "id", b, id[:])
		}
		if ms, record, err := parseExpiryKey(b); err == nil {
			same(t, "expiry key", b[1:], expiryKey(ms, record)[1:])
		}
		if id, err := eventID(b); err == nil && !strings.HasSuffix(string(b), string(id[:])) {
			t.Errorf("eventID(%x) = %x", b, id)
		}
	})
}

func same(t *testing.T, what string, want, got []byte) {
	t.Helper()
	if string(want) != string(got) {
		t.Errorf("%s %x is encoded again as %x", what, want, got)
	}
}
