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

// snapshot is what Redis holds of the keys with a prefix.
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

// restore takes Redis back to the snapshot.
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

// A log that went back raises its floor once, however many nodes notice, and new
// ids pass every id that was handed out.
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
			old := edges(t, a)
			back := snap(t, admin, prefix)

			feed := follow(t, b, "room")
			newest := put(t, a, draft("room", "2"))
			nextIs(t, feed, newest)
			lose(t, prefix, back, a)

			raised := edges(t, a)
			if !newest.Before(raised.Floor) && newest != raised.Floor {
				t.Errorf("floor %s after the loss of %s, was %s", raised.Floor, newest, old.Floor)
			}
			if raised.Last.Before(newest) {
				t.Errorf("Last %s is before %s, which was handed out", raised.Last, newest)
			}
			if again := edges(t, b); again.Floor != raised.Floor {
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

// What was trimmed or has expired is no loss.
func TestTrimIsNoLoss(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix(), TailLife: time.Millisecond})
	stranger := open(t, Options{URL: l.opt.URL, Prefix: l.opt.Prefix, TailLife: time.Millisecond})
	put(t, l, draft("trimmed", "1"))
	small := draft("trimmed", "2")
	small.Retention.Events = 1
	put(t, stranger, small)
	edges(t, l)
	put(t, stranger, small)
	edges(t, l)

	short := draft("expired", "1")
	short.Retention.Age = time.Millisecond
	put(t, l, short)
	eventually(t, "the room expires", func() bool {
		return edges(t, l, "expired").Tails[0].IsZero() && len(all(t, stranger, "expired")) == 0
	})
	floor := edges(t, stranger).Floor
	put(t, stranger, draft("other", "1")) // moves Last on, and with it the horizon
	if e := edges(t, l); e.Floor != floor || l.Losses() != 0 {
		t.Errorf("floor %s, was %s; %d losses", e.Floor, floor, l.Losses())
	}
}

// Ids rise though Redis's clock steps back, and within one millisecond.
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

// A new millisecond counts from below 2^32, however far the last one got: Lua's
// numbers are exact only up to 2^53.
func TestSequenceRestarts(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	if err := l.client.HSet(t.Context(), l.partitions[0].Clock(), "last", "1000-9007199254740000").Err(); err != nil {
		t.Fatal(err)
	}
	if id := put(t, l, draft("r", "1")); id.Seq() == 0 || id.Seq() > 1<<32 {
		t.Errorf("id %s has sequence %d, want 1 to 2^32", id, id.Seq())
	}
}

// Edges of more rooms than one script answers for has all tails in order.
func TestEdgesOfManyRooms(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	rooms := make([]streams.Room, maxTails+1500)
	for i := range rooms {
		rooms[i] = streams.Room("r" + strconv.Itoa(i))
	}
	want := map[int]streams.ID{}
	for _, i := range []int{0, 999, 1000, maxTails - 1, maxTails, len(rooms) - 1} {
		want[i] = put(t, l, draft(rooms[i], "1"))
	}
	for i, tail := range edges(t, l, rooms...).Tails {
		if tail != want[i] {
			t.Errorf("tail %d is %s, want %s", i, tail, want[i])
		}
	}
}

// No two rooms and keys share a record.
func TestRecordKeysAreDistinct(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix()})
	put(t, l, keyed("a", "1", "b:c"))
	put(t, l, keyed("a:b", "2", "c"))
	put(t, l, keyed("a", "3", "{b} "+strings.Repeat("x", 200)))
}

// A log that went back within a millisecond, as one does whose clock goes back with
// it, does not hand out an id twice: whoever has the first event could not be told
// that it was lost. A node that knows nothing of it appends.
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

// A node that knows of events which the log has lost does not write over the loss:
// what it appends comes after the new floor, so that readers are told of the loss
// before it.
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
	e := edges(t, other, "room")
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
	if again := edges(t, other); again.Floor != e.Floor || l.Losses() != 1 {
		t.Errorf("floor %s, was %s; %d losses", again.Floor, e.Floor, l.Losses())
	}
}

// A node that does not know may write over a loss. When it is noticed, what it wrote
// lies between the place where the loss began and the floor.
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
		if e := edges(t, l, "room"); kept.Before(e.LostAfter) || !over.Before(e.Floor) {
			t.Errorf("lost from %s and floor %s, want not after %s and one after %s", e.LostAfter, e.Floor, kept, over)
		}
	}
}

// While a master is replaced, a node may hear an event from the old one after it has
// appended a later one to the new. The loss of the first is noticed all the same.
func TestLossOfWhatOnlyTheFeedHeard(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	opt := Options{URL: server.URL(), Prefix: newPrefix()}
	old := open(t, opt)
	put(t, old, draft("room", "kept"))
	back := snap(t, admin, opt.Prefix)
	heard := put(t, old, draft("room", "lost"))
	back.restore(t, admin, opt.Prefix)

	l := open(t, opt)
	put(t, l, draft("room", "on the new master"))
	put(t, l, draft("other", "as well"))
	l.partitions[0].saw("its feed", "room", heard)
	put(t, l, draft("other", "and once more"))
	if e := edges(t, l); l.Losses() != 1 || e.Floor.Before(heard) {
		t.Errorf("%d losses noticed, floor %s, the event lost was %s", l.Losses(), e.Floor, heard)
	}
	edges(t, l)
	if n := len(l.partitions[0].knownEvents()); l.Losses() != 1 || n != 1 {
		t.Errorf("%d losses noticed, %d events to be looked for, want 1 and 1", l.Losses(), n)
	}
}
