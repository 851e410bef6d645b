package redislog

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/tests/redistest"
)

// snapshot has the values of all keys with a prefix.
type snapshot map[string]string

func snap(t testing.TB, c *redis.Client, prefix string) snapshot {
	t.Helper()
	s := snapshot{}
	keys, err := c.Keys(t.Context(), "{"+prefix+":*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		s[k] = c.Dump(t.Context(), k).Val()
	}
	return s
}

// restore brings Redis back to the state of the snapshot.
func (s snapshot) restore(t testing.TB, c *redis.Client, prefix string) {
	t.Helper()
	for k := range snap(t, c, prefix) {
		c.Del(t.Context(), k)
	}
	for k, v := range s {
		if err := c.RestoreReplace(t.Context(), k, 0, v).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

// If a log went back, it raises its floor once, even if several nodes notice. New ids are
// later than every id that was handed out.
func TestLossRaisesFloorOnce(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	for name, lose := range map[string]func(t *testing.T, prefix string, back snapshot, l *Log){
		"everything": func(t *testing.T, prefix string, _ snapshot, _ *Log) {
			snapshot{}.restore(t, admin, prefix)
		},
		"everything, then a publish": func(t *testing.T, prefix string, _ snapshot, l *Log) {
			snapshot{}.restore(t, admin, prefix)
			put(t, l, draft("other", "x"))
		},
		"the end": func(t *testing.T, prefix string, back snapshot, _ *Log) {
			back.restore(t, admin, prefix)
		},
		"the end, passed by the same room": func(t *testing.T, prefix string, back snapshot, l *Log) {
			back.restore(t, admin, prefix)
			stranger := open(t, Options{URL: server.URL(), Prefix: prefix})
			put(t, stranger, draft("room", "x"))
		},
		"the end, passed by another room": func(t *testing.T, prefix string, back snapshot, l *Log) {
			back.restore(t, admin, prefix)
			stranger := open(t, Options{URL: server.URL(), Prefix: prefix})
			put(t, stranger, draft("other", "x"))
		},
		"the end, passed by another node and then by this one": func(t *testing.T, prefix string, back snapshot, l *Log) {
			back.restore(t, admin, prefix)
			stranger := open(t, Options{URL: server.URL(), Prefix: prefix})
			put(t, stranger, draft("other", "x"))
			put(t, l, draft("third", "x"))
		},
		"the end, the clock first": func(t *testing.T, prefix string, back snapshot, _ *Log) {
			back.restore(t, admin, prefix)
			admin.Del(t.Context(), newPartition(keys.New(prefix, 0, 0)).Clock())
		},
	} {
		t.Run(name, func(t *testing.T) {
			prefix := newPrefix()
			opt := Options{URL: server.URL(), Prefix: prefix}
			a, b := open(t, opt), open(t, opt)
			first := put(t, a, draft("room", "1"))
			old := watermarks(t, a)
			back := snap(t, admin, prefix)

			feed := follow(t, b, "room")
			newest := put(t, a, draft("room", "2"))
			nextIs(t, feed, newest)
			lose(t, prefix, back, a)

			raised := watermarks(t, a)
			if !newest.Before(raised.Floor) && newest != raised.Floor {
				t.Errorf("floor %s after the loss of %s, was %s", raised.Floor, newest, old.Floor)
			}
			if raised.Last.Before(newest) {
				t.Errorf("Last %s is before %s, which was handed out", raised.Last, newest)
			}
			if again := watermarks(t, b); again.Floor != raised.Floor {
				t.Errorf("the second node raised the floor again, %s to %s", raised.Floor, again.Floor)
			}
			if a.Losses()+b.Losses() != 1 {
				t.Errorf("losses %d and %d, want 1 in all", a.Losses(), b.Losses())
			}
			id := put(t, b, draft("room", "3"))
			if !newest.Before(id) {
				t.Errorf("new id %s does not pass %s", id, newest)
			}
			events := all(t, b, "room")
			if e := events[len(events)-1]; e.Prev.Before(raised.Floor) {
				t.Errorf("Prev %s is before the floor %s: the loss of %s after %s does not show", e.Prev, raised.Floor, newest, first)
			}
		})
	}
}

// Trimmed and expired events do not count as lost.
func TestTrimIsNoLoss(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix(), TailLife: time.Millisecond})
	stranger := open(t, Options{URL: l.opt.URL, Prefix: l.opt.Prefix, TailLife: time.Millisecond})
	put(t, l, draft("trimmed", "1"))
	small := draft("trimmed", "2")
	small.Retention.Events = 1
	put(t, stranger, small)
	watermarks(t, l)
	put(t, stranger, small)
	watermarks(t, l)

	short := draft("expired", "1")
	short.Retention.Age = time.Millisecond
	put(t, l, short)
	eventually(t, "the room expires", func() bool {
		return watermarks(t, l, "expired").Tails[0].IsZero() && len(all(t, stranger, "expired")) == 0
	})
	floor := watermarks(t, stranger).Floor
	put(t, stranger, draft("other", "1")) // moves Last forward, and UnrecordedBefore with it
	if e := watermarks(t, l); e.Floor != floor || l.Losses() != 0 {
		t.Errorf("floor %s, was %s; %d losses", e.Floor, floor, l.Losses())
	}
}

// Ids rise within one millisecond, and when Redis's clock steps back.
func TestClockStepsBack(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	put(t, l, draft("r", "0"))
	future := time.Now().Add(time.Hour).UnixMilli()
	ahead := strconv.FormatInt(future, 10) + "-7"
	if err := l.client.HSet(t.Context(), l.partitions[0].Clock(), "last", ahead).Err(); err != nil {
		t.Fatal(err)
	}
	last := streams.MakeID(uint64(future), 7, 0)
	for range 20 {
		id := put(t, l, draft("r", "1"))
		if !last.Before(id) || !id.Time().Equal(last.Time()) {
			t.Fatalf("id %s after %s, want a later one of the same millisecond", id, last)
		}
		last = id
	}
	if ttl := l.client.PTTL(t.Context(), l.partitions[0].Tail("r")).Val(); ttl < streams.DefaultTailLife+time.Hour {
		t.Errorf("the tail record of an id that is an hour ahead lives for %v", ttl)
	}
}

// Sequences of a new millisecond begin below 2^32, independently of the last one, because
// Lua's numbers are exact only up to 2^53.
func TestSequenceRestarts(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	if err := l.client.HSet(t.Context(), l.partitions[0].Clock(), "last", "1000-9007199254740000").Err(); err != nil {
		t.Fatal(err)
	}
	if id := put(t, l, draft("r", "1")); id.Seq() == 0 || id.Seq() > 1<<32 {
		t.Errorf("id %s has sequence %d, want 1 to 2^32", id, id.Seq())
	}
}

// The first sequence of a millisecond is random. Otherwise a log that has gone back, and whose
// clock shows the millisecond again, could mint the id of an event that it has lost.
func TestFirstIDOfAMillisecondIsRandom(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	millis, low := map[uint64]bool{}, 0
	sequences := map[uint64]bool{}
	for len(millis) < 20 {
		id := put(t, l, draft("r", "1"))
		if millis[id.Millis()] {
			continue
		}
		millis[id.Millis()], sequences[id.Seq()] = true, true
		if id.Seq() < 1<<24 {
			low++
		}
	}
	// By chance, 3 of 20 sequences lie in the lowest 256th of the range once in 15,000 runs,
	// and 10 once in 10^19.
	if low >= 10 || len(sequences) < 19 {
		t.Errorf("20 milliseconds begin with %d sequences, %d of them below 2^24", len(sequences), low)
	}
}

// Watermarks returns all tails in order for more rooms than one script handles.
func TestWatermarksOfManyRooms(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	rooms := make([]streams.Room, maxTails+1500)
	for i := range rooms {
		rooms[i] = streams.Room("r" + strconv.Itoa(i))
	}
	want := map[int]streams.ID{}
	for _, i := range []int{0, 999, 1000, maxTails - 1, maxTails, len(rooms) - 1} {
		want[i] = put(t, l, draft(rooms[i], "1"))
	}
	for i, tail := range watermarks(t, l, rooms...).Tails {
		if tail != want[i] {
			t.Errorf("tail %d is %s, want %s", i, tail, want[i])
		}
	}
}

// Different pairs of room and key never share a record.
func TestRecordKeysAreDistinct(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	put(t, l, keyed("a", "1", "b:c"))
	put(t, l, keyed("a:b", "2", "c"))
	put(t, l, keyed("a", "3", "{b} "+strings.Repeat("x", 200)))
}

// A log that goes back together with its clock does not mint an id twice, even if the
// appending node does not know of the loss. Otherwise a reader of the first event could not
// be told that it was lost.
func TestNoIDTwice(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	p := l.partitions[0]
	put(t, l, draft("r", "0"))
	future := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10) + "-0"
	seen := map[streams.ID]bool{}
	for range 20 {
		if err := l.client.HSet(t.Context(), p.Clock(), "last", future).Err(); err != nil {
			t.Fatal(err)
		}
		if err := l.client.Del(t.Context(), p.Stream("r"), p.Tail("r")).Err(); err != nil {
			t.Fatal(err)
		}
		p.mu.Lock()
		p.newest, p.known = streams.ID{}, nil
		p.mu.Unlock()
		id := put(t, l, draft("r", "1"))
		if seen[id] {
			t.Fatalf("id %s came twice", id)
		}
		seen[id] = true
	}
}

// A node that knows of lost events does not write over the loss. Its append comes after
// the new floor, so that readers learn of the loss first.
func TestAppendNoticesALoss(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	prefix := newPrefix()
	opt := Options{URL: server.URL(), Prefix: prefix}
	l, other := open(t, opt), open(t, opt)
	put(t, l, draft("room", "1"))
	kept := put(t, l, draft("hall", "1"))
	back := snap(t, admin, prefix)
	lost := put(t, l, draft("room", "2"))
	back.restore(t, admin, prefix)

	id := put(t, l, draft("room", "3"))
	e := watermarks(t, other, "room")
	if e.Floor.Before(lost) || !e.Floor.Before(id) || kept.Before(e.LostAfter) {
		t.Errorf("floor %s and lost from %s, want a floor between %s and %s, and not after %s", e.Floor, e.LostAfter, lost, id, kept)
	}
	if l.Losses() != 1 || other.Losses() != 0 {
		t.Errorf("losses %d and %d, want 1 and 0", l.Losses(), other.Losses())
	}
	if prev := all(t, l, "room")[1].Prev; prev != e.Floor {
		t.Errorf("Prev %s, want the floor %s", prev, e.Floor)
	}
	put(t, l, draft("room", "4"))
	if again := watermarks(t, other); again.Floor != e.Floor || l.Losses() != 1 {
		t.Errorf("floor %s, was %s; %d losses", again.Floor, e.Floor, l.Losses())
	}
}

// A node that does not know of a loss may write over it. When the loss is noticed, that
// event lies between the begin of the loss and the floor.
func TestWrittenOverALoss(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	prefix := newPrefix()
	opt := Options{URL: server.URL(), Prefix: prefix}
	l := open(t, opt)
	kept := put(t, l, draft("room", "1"))
	back := snap(t, admin, prefix)
	put(t, l, draft("room", "2"))
	back.restore(t, admin, prefix)
	over := put(t, open(t, opt), draft("room", "3"))
	for range 2 {
		if e := watermarks(t, l, "room"); kept.Before(e.LostAfter) || !over.Before(e.Floor) {
			t.Errorf("lost from %s and floor %s, want not after %s and one after %s", e.LostAfter, e.Floor, kept, over)
		}
	}
}

// During a failover, a node may receive an event from the old primary after it has appended
// a later one to the new primary. The loss of the first is still noticed.
func TestLossOfAnEventThatOnlyTheFeedReceived(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	opt := Options{URL: server.URL(), Prefix: newPrefix()}
	old := open(t, opt)
	put(t, old, draft("room", "kept"))
	back := snap(t, admin, opt.Prefix)
	heard := put(t, old, draft("room", "lost"))
	back.restore(t, admin, opt.Prefix)

	l := open(t, opt)
	put(t, l, draft("room", "on the new primary"))
	put(t, l, draft("other", "as well"))
	l.partitions[0].saw("its feed", "room", heard)
	put(t, l, draft("other", "and once more"))
	if e := watermarks(t, l); l.Losses() != 1 || e.Floor.Before(heard) {
		t.Errorf("%d losses noticed, floor %s, the event lost was %s", l.Losses(), e.Floor, heard)
	}
	watermarks(t, l)
	if n := len(l.partitions[0].knownEvents()); l.Losses() != 1 || n != 1 {
		t.Errorf("%d losses noticed, %d last known events, want 1 and 1", l.Losses(), n)
	}
}
