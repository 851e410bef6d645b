package embedded

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

// numbered returns events of room "a" with the ids first to last.
func numbered(first, last int) []*streams.Event {
	var events []*streams.Event
	for n := first; n <= last; n++ {
		events = append(events, &streams.Event{ID: streams.MakeID(uint64(n), 1, 0), Room: "a"})
	}
	return events
}

// take receives a message that must be available once all goroutines wait.
func take(t *testing.T, f streams.Feed) streams.FeedMessage {
	t.Helper()
	synctest.Wait()
	select {
	case m := <-f.Messages():
		return m
	default:
		t.Fatal("no message")
		return streams.FeedMessage{}
	}
}

// A slow reader receives the events that fit, then Lost once, and then each room again.
// Events between the two do not arrive, which would hide the hole.
func TestSlowReaderReceivesLostOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		defer h.close()
		f := h.open()
		f.Join("a", 1)
		f.Join("b", 2)
		take(t, f)
		take(t, f)

		h.publish(numbered(1, maxMessages+100)) // the last 100 do not fit
		h.publish(numbered(9001, 9002))
		for n := 1; n <= maxMessages; n++ {
			if m := take(t, f); m.Event == nil || m.Event.ID.Millis() != uint64(n) {
				t.Fatalf("message %d: %+v", n, m)
			}
		}
		if m := take(t, f); !m.Lost {
			t.Fatalf("after the events that fit: %+v, want Lost", m)
		}
		rooms := []streams.Room{take(t, f).Joined, take(t, f).Joined}
		slices.Sort(rooms)
		if !slices.Equal(rooms, []streams.Room{"a", "b"}) {
			t.Fatalf("announced %q, want both rooms again", rooms)
		}
		h.publish(numbered(9003, 9003))
		if m := take(t, f); m.Event == nil || m.Event.ID.Millis() != 9003 {
			t.Errorf("after the announcements: %+v, want the next event", m)
		}
	})
}

// The data of the events that wait for a reader is bounded. A reader that has fallen behind
// gets Lost once it has read half of them, and then all further events.
func TestUnreadEventsAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		defer h.close()
		f := h.open()
		f.Join("a", 1)
		take(t, f)

		const size, fit = 64 << 10, maxMessageBytes / (64 << 10)
		large := numbered(1, fit+100)
		for _, e := range large {
			e.Data = make([]byte, size)
		}
		h.publish(large)
		synctest.Wait()
		if n := len(f.messages); n != fit {
			t.Errorf("%d events of %d bytes wait, want %d", n, size, fit)
		}
		for n := 1; n <= fit; n++ {
			if m := take(t, f); m.Event == nil || m.Event.ID.Millis() != uint64(n) {
				t.Fatalf("message %d: %+v", n, m)
			}
			if n == fit/4 {
				time.Sleep(time.Second) // virtual
				synctest.Wait()
				if got := len(f.messages); got != fit-n {
					t.Errorf("%d messages wait, want %d: Lost comes too early", got, fit-n)
				}
			}
			if n == fit/2 {
				time.Sleep(time.Second)
			}
		}
		if m := take(t, f); !m.Lost {
			t.Fatalf("after the events that fit: %+v, want Lost", m)
		}
		if m := take(t, f); m.Joined != "a" {
			t.Fatalf("after Lost: %+v, want the room again", m)
		}
		huge := numbered(9001, 9002)
		huge[0].Data, huge[1].Data = make([]byte, 2*maxMessageBytes), make([]byte, 1)
		h.publish(huge)
		if m := take(t, f); m.Event == nil || m.Event.ID.Millis() != 9001 {
			t.Errorf("an event larger than the bound: %+v", m)
		}
	})
}

// The memory of waiting appends is bounded. Appends beyond it fail at once, and succeed when
// the others have been answered. An append that alone exceeds the bound is accepted.
func TestWaitingAppendsAreBoundedInBytes(t *testing.T) {
	l := openOn(t, vfs.NewMem(), Options{})
	waiting := &request{bytes: maxQueuedBytes - draftBytes}
	if !l.reserve(waiting) {
		t.Fatal("an empty queue is full")
	}
	if r := l.Append(t.Context(), []streams.Draft{draft("a", 1)})[0]; !errors.Is(r.Err, errFull) {
		t.Errorf("an append beyond the bound: %+v, want errFull", r)
	}
	l.release(waiting)
	mustAppend(t, l, draft("a", 2), draft("a", 3))
	huge := &request{bytes: 2 * maxQueuedBytes}
	if !l.reserve(huge) {
		t.Error("an append that alone exceeds the bound is refused")
	}
	l.release(huge)
	if n := l.queued.Load(); n != 0 {
		t.Errorf("%d bytes count as waiting, and no append waits", n)
	}
}

// A feed without a reader still accepts Join and Leave, stores only its rooms, and closes.
func TestUnreadFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub()
		f := h.open()
		f.Join("a", 1)
		h.publish(numbered(1, 2*maxMessages))
		for n := range 10_000 {
			room := streams.Room(fmt.Sprint("churn-", n%100))
			f.Join(room, uint64(n))
			f.Leave(room)
		}
		synctest.Wait()
		f.mu.Lock()
		if len(f.rooms) != 1 || len(f.pending) > 1 {
			t.Errorf("holds %d rooms and %d announcements, want 1 and at most 1", len(f.rooms), len(f.pending))
		}
		f.mu.Unlock()
		f.Close()
		f.Close()
		h.close()
		if late := h.open(); len(drain(late)) != 0 {
			t.Error("a feed of a closed hub has messages")
		}
	})
}

func drain(f streams.Feed) (all []streams.FeedMessage) {
	for m := range f.Messages() {
		all = append(all, m)
	}
	return all
}

// Close answers every append under way: either it is stored, or it returns ErrClosed and
// is not stored.
func TestCloseAnswersEveryAppend(t *testing.T) {
	fs := vfs.NewMem()
	l := openOn(t, fs, Options{})
	var mu sync.Mutex // guards stored
	var stored []streams.ID
	var publishers sync.WaitGroup
	for range 32 {
		publishers.Go(func() {
			for n := 0; ; n++ {
				d := draft("a", n)
				d.Retention.Events = 10_000_000
				r := l.Append(t.Context(), []streams.Draft{d})[0]
				if r.Err != nil {
					if !errors.Is(r.Err, streams.ErrClosed) {
						t.Errorf("append: %v, want ErrClosed", r.Err)
					}
					return
				}
				mu.Lock()
				stored = append(stored, r.ID)
				mu.Unlock()
			}
		})
	}
	eventually(t, "publishing is under way", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(stored) > 1000
	})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	publishers.Wait()
	slices.SortFunc(stored, streams.ID.Compare)
	again := openOn(t, fs, Options{})
	sameIDs(t, "events", stored, idsOf(mustRead(t, again, "a")))
}

// The number of room records in memory is bounded. A record that was evicted is read from
// the store.
func TestMemoryIsBounded(t *testing.T) {
	l := openOn(t, vfs.NewMem(), Options{})
	const batch = 512
	for n := 0; n < maxRooms+2*batch; n += batch {
		drafts := make([]streams.Draft, batch)
		for i := range drafts {
			drafts[i] = draft(streams.Room(fmt.Sprint("room-", n+i)), 0)
		}
		mustAppend(t, l, drafts...)
	}
	first := mustRead(t, l, "room-0")[0].ID
	mustAppend(t, l, draft("room-0", 1))
	if prev := mustRead(t, l, "room-0")[1].Prev; prev != first {
		t.Errorf("the second event has Prev %s, want %s, in memory or not", prev, first)
	}
	if err := l.Close(); err != nil { // afterwards the writer's fields can be read
		t.Fatal(err)
	}
	if n := len(l.writer.rooms); n > maxRooms {
		t.Errorf("%d rooms in memory, want at most %d", n, maxRooms)
	}
}

// A cap far below a room's number of events trims it with one range deletion.
func TestTrimManyEvents(t *testing.T) {
	l := openOn(t, vfs.NewMem(), Options{SweepEvery: fastSweep})
	drafts := make([]streams.Draft, 3*maxDeletes)
	for i := range drafts {
		drafts[i] = draft("a", i)
		drafts[i].Retention.Events = len(drafts)
	}
	ids := mustAppend(t, l, drafts...)
	small := draft("a", 0)
	small.Retention = streams.Retention{Events: 2, Age: time.Hour}
	ids = append(ids, mustAppend(t, l, small)...)

	events := mustRead(t, l, "a")
	sameIDs(t, "kept", ids[len(ids)-2:], idsOf(events))
	if events[0].Prev != ids[len(ids)-3] {
		t.Errorf("the first kept event has Prev %s, want the last trimmed one, %s", events[0].Prev, ids[len(ids)-3])
	}
	if n := countKeys(t, l, kindEvent); n != 2 {
		t.Errorf("%d events in the store, want 2", n)
	}
}
