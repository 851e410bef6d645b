package redislog

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A refused event is neither stored nor live, and the error has Redis's text. After the
// operator has acted, the same publish succeeds.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct{ refuse, allow []any }{
		"OOM":      {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		"READONLY": {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			admin := server.Client()
			l := open(t, Options{URL: server.URL()})
			first := put(t, l, draft("room", "1"))
			feed := follow(t, l, "room")
			feed.Join("passing", 2)
			joined(t, feed, "passing", 2)

			if err := admin.Do(t.Context(), c.refuse...).Err(); err != nil {
				t.Fatal(err)
			}
			passing := draft("passing", "2")
			passing.Retention.Events = 0
			for i, r := range l.Append(t.Context(), []streams.Draft{draft("room", "2"), passing, keyed("room", "3", "k")}) {
				if r.Err == nil || !strings.Contains(r.Err.Error(), name) {
					t.Errorf("draft %d: %+v, want ErrRefused with %s", i, r, name)
				}
			}
			refusedBy(t, l, draft("room", "2"), streams.ErrRefused)
			if name == "READONLY" {
				if err := l.Ping(t.Context()); err == nil {
					t.Error("Ping of a read-only Redis gives no error")
				}
			}
			if err := admin.Do(t.Context(), c.allow...).Err(); err != nil {
				t.Fatal(err)
			}
			id := put(t, l, keyed("room", "3", "k"))
			nextIs(t, feed, id)
			if events := all(t, l, "room"); len(events) != 2 || events[1].Prev != first {
				t.Errorf("%d events, want 2 in a chain", len(events))
			}
		})
	}
}

// A foreign value under a key of a room fails the drafts of that room only.
func TestForeignValues(t *testing.T) {
	server := redistest.Shared(t)
	admin := server.Client()
	p := newPartition(keys.New("", 0, 0))
	for name, c := range map[string]struct{ key, text string }{
		"stream":            {p.Stream("bad"), "WRONGTYPE"},
		"tail":              {p.Tail("bad"), "WRONGTYPE"},
		"record":            {p.Record("bad", "k"), "WRONGTYPE"},
		"tail not a record": {p.Tail("bad"), "position"},
	} {
		t.Run(name, func(t *testing.T) {
			opt := Options{URL: server.URL(), Prefix: newPrefix()}
			l := open(t, opt)
			feed := follow(t, l, "bad")
			feed.Join("good", 2)
			joined(t, feed, "good", 2)
			key := strings.Replace(c.key, p.Tag(), l.partitions[0].Tag(), 1)
			var err error
			if c.text == "WRONGTYPE" {
				err = admin.SAdd(t.Context(), key, "foreign").Err()
			} else {
				err = admin.Set(t.Context(), key, "foreign", 0).Err()
			}
			if err != nil {
				t.Fatal(err)
			}
			receipts := l.Append(t.Context(), []streams.Draft{keyed("bad", "1", "k"), draft("good", "2"), keyed("bad", "3", "k")})
			for _, i := range []int{0, 2} {
				if err := receipts[i].Err; err == nil || !strings.Contains(err.Error(), c.text) {
					t.Errorf("draft %d: %v, want an error with %q", i, err, c.text)
				}
			}
			if receipts[1].Err != nil {
				t.Fatal(receipts[1].Err)
			}
			nextIs(t, feed, receipts[1].ID)
			watermarks(t, l, "bad", "good")
			if err := admin.Del(t.Context(), key).Err(); err != nil {
				t.Fatal(err)
			}
			if events := all(t, l, "bad"); len(events) != 0 {
				t.Errorf("%d events stored in the bad room", len(events))
			}
			nextIs(t, feed, put(t, l, keyed("bad", "1", "k")))
		})
	}
}

// A foreign entry in a room's stream, or a foreign value in its place, is not an event. The
// events around it can still be read.
func TestForeignEntry(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	stream := l.partitions[0].Stream("r")
	first := put(t, l, draft("r", "1"))
	for range 5 {
		if err := server.Client().Do(t.Context(), "xadd", stream, "*", "a", "b").Err(); err != nil {
			t.Fatal(err)
		}
	}
	// The foreign ids run ahead of the log's by no more than the clock has moved.
	var second streams.ID
	for second.IsZero() {
		if r := l.Append(t.Context(), []streams.Draft{draft("r", "2")})[0]; r.Err == nil {
			second = r.ID
		}
	}
	for _, limit := range []int{2, 3, 100} {
		page, err := l.After(t.Context(), "r", streams.ID{}, second, upTo(limit))
		events := page.Events
		if err != nil || len(events) != 2 || events[0].ID != first || events[1].ID != second || events[1].Prev != first {
			t.Errorf("After, %d at most: %v, %v", limit, events, err)
		}
	}
	page, err := l.Before(t.Context(), "r", second.Next(), upTo(2))
	events := page.Events
	if err != nil || len(events) != 2 || events[0].ID != first || events[1].ID != second {
		t.Errorf("Before: %v, %v", events, err)
	}

	server.Client().Set(t.Context(), stream, "no stream", 0)
	if page, err := l.After(t.Context(), "r", streams.ID{}, second, upTo(10)); err != nil || len(page.Events) != 0 {
		t.Errorf("After where there is no stream: %v, %v", page, err)
	}
}

// If the user may not publish, Open fails. The mistake does not first show at the first
// event.
func TestUserWithoutPublish(t *testing.T) {
	server := redistest.Start(t)
	err := server.Client().Do(t.Context(), "acl", "setuser", "mute", "on", ">pw", "~*", "+@all", "resetchannels").Err()
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), Options{URL: strings.Replace(server.URL(), "://", "://mute:pw@", 1), Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "channel") {
		t.Errorf("Open = %v, want Redis's error about the channel", err)
	}
	_, err = Open(t.Context(), Options{URL: strings.Replace(server.URL(), "://", "://mute:wrong@", 1), Logger: quiet()})
	if err == nil || !strings.Contains(err.Error(), "WRONGPASS") {
		t.Errorf("Open with a wrong password = %v, want WRONGPASS", err)
	}
}

// A log cannot be opened with another number of partitions, not even by a node that was
// running before the log was created again.
func TestMismatch(t *testing.T) {
	url := redistest.Shared(t).URL()
	opt := Options{URL: url, Prefix: newPrefix(), Partitions: 2}
	l := open(t, opt)
	opt.Partitions = 3
	_, err := Open(t.Context(), opt)
	if err == nil || !strings.Contains(err.Error(), "2 partitions, this node wants 3") {
		t.Errorf("Open = %v, want ErrMismatch with both numbers", err)
	}
	if err := l.client.HSet(t.Context(), l.partitions[0].Clock(), "partitions", 3).Err(); err != nil {
		t.Fatal(err)
	}
	refusedBy(t, l, draft(roomOfFirst(2), "1"), streams.ErrMismatch)
}

// If Redis evicted a tail record, the stream replaces it.
func TestTailEvicted(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	first := put(t, l, draft("r", "1"))
	server.Client().Del(context.Background(), l.partitions[0].Tail("r"))
	second := draft("r", "2")
	second.ExistingRoom = true
	if r := l.Append(t.Context(), []streams.Draft{second})[0]; r.Err != nil || r.NewRoom {
		t.Errorf("append: %+v, want it stored in a room that is not new", r)
	}
	if e := all(t, l, "r"); len(e) != 2 || e[1].Prev != first {
		t.Errorf("%d events, want 2 in a chain", len(e))
	}
}

// When the tail record of a room has expired, the room is new again.
func TestExpiredRoomIsNew(t *testing.T) {
	l := open(t, Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix(), TailLife: time.Millisecond})
	d := draft("r", "1")
	d.Retention.Age = time.Millisecond
	put(t, l, d)
	eventually(t, "the tail record expires", func() bool { return watermarks(t, l, "r").Tails[0].IsZero() })
	existing := d
	existing.ExistingRoom = true
	refusedBy(t, l, existing, streams.ErrNewRoom)
	if r := l.Append(t.Context(), []streams.Draft{d})[0]; r.Err != nil || !r.NewRoom {
		t.Errorf("append: %+v, want it stored in a new room", r)
	}
}

// A longer tail life does not vouch for records that the shorter one has dropped.
func TestTailLifeGrows(t *testing.T) {
	opt := Options{URL: redistest.Shared(t).URL(), Prefix: newPrefix(), TailLife: time.Millisecond}
	l := open(t, opt)
	short := draft("r", "1")
	short.Retention.Age = time.Millisecond
	id := put(t, l, short)
	eventually(t, "the tail record expires", func() bool { return watermarks(t, l, "r").Tails[0].IsZero() })
	put(t, l, draft("other", "1"))

	opt.TailLife = time.Hour
	second := open(t, opt)
	if e := watermarks(t, second, "r"); e.Base().Before(id) {
		t.Errorf("base %s is before %s, which left no record", e.Base(), id)
	}
	if n := l.Losses(); n != 0 {
		t.Errorf("an expired event was counted as %d losses", n)
	}
}
