package redislog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A replySizer is a hook that measures the replies to reads.
type replySizer struct{ replies, largest, bytes int }

func (replySizer) DialHook(next redis.DialHook) redis.DialHook { return next }
func (replySizer) ProcessPipelineHook(p redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return p
}

func (s *replySizer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if read, ok := cmd.(*redis.Cmd); ok && strings.HasPrefix(cmd.Name(), "x") {
			entries, _ := read.Slice()
			size := 0
			for _, e := range entries {
				size += entry.Size(e)
			}
			s.replies++
			s.bytes += size
			s.largest = max(s.largest, size)
		}
		return err
	}
}

// fieldBytes is more than the fields of an entry take besides its data.
const fieldBytes = 60

// fillRooms appends n drafts with size bytes of data to each of the rooms.
func fillRooms(t testing.TB, l *Log, rooms []streams.Room, n, size int) {
	t.Helper()
	data := `"` + strings.Repeat("x", size-2) + `"`
	var drafts []streams.Draft
	for _, room := range rooms {
		for range n {
			drafts = append(drafts, draft(room, data))
		}
	}
	for some := range slices.Chunk(drafts, 100) {
		for _, r := range l.Append(t.Context(), some) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

// numbered returns n rooms.
func numbered(n int) []streams.Room {
	rooms := make([]streams.Room, n)
	for i := range rooms {
		rooms[i] = streams.Room("r" + strconv.Itoa(i))
	}
	return rooms
}

// readPages reads each room page by page, and returns the number of events.
func readPages(t testing.TB, l *Log, rooms []streams.Room, limit streams.ReadLimit) (events int) {
	t.Helper()
	last := watermarks(t, l).Last
	for _, room := range rooms {
		for from, more := (streams.ID{}), true; more; {
			page, err := l.After(t.Context(), room, from, last, limit)
			if err != nil || page.More && len(page.Events) == 0 {
				t.Fatalf("After %s: %d events, More %v, %v", from, len(page.Events), page.More, err)
			}
			if more = page.More; more {
				from = page.Events[len(page.Events)-1].ID
			}
			events += len(page.Events)
		}
	}
	return events
}

// A page takes one call to Redis, of small events and of large ones.
func TestCallsOfPages(t *testing.T) {
	server := redistest.Shared(t)
	for _, c := range []struct{ rooms, events, size, bytes, most int }{
		{1, 1000, 100, 256 << 10, 8},
		{1, 1000, 1000, 256 << 10, 8},
		{10, 100, 100, 64 << 10, 10},
		{10, 10, 1000, 64 << 10, 10},
		{100, 1, 100, 64 << 10, 100},
		{10, 10, 100, 1 << 10, 10},       // 10 events fit
		{10, 20, 8000, 64 << 10, 31},     // 8 fit; the size is not known at first
		{10, 4, 60_000, 64 << 10, 40},    // 1 fits
		{10, 10, 60_000, 1 << 10, 100},   // 1 exceeds the bytes
		{1, 64, 64 << 10, 256 << 10, 16}, // 4 fit
	} {
		t.Run(fmt.Sprintf("%dx%dx%d", c.rooms, c.events, c.size), func(t *testing.T) {
			l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
			rooms := numbered(c.rooms)
			fillRooms(t, l, rooms, c.events, c.size)
			var sizes replySizer
			l.client.AddHook(&sizes)
			limit := streams.ReadLimit{Events: 128, Bytes: c.bytes}
			if n := readPages(t, l, rooms, limit); n != c.rooms*c.events {
				t.Errorf("%d events, want %d", n, c.rooms*c.events)
			}
			if sizes.replies > c.most {
				t.Errorf("%d calls, want at most %d", sizes.replies, c.most)
			}
		})
	}
}

// However the sizes of a room's entries are mixed, no reply of Redis exceeds its bound. And
// all replies together are not much larger than the room, because a log learns the sizes.
func TestReplyIsBoundedInBytes(t *testing.T) {
	server := redistest.Shared(t)
	const size = streams.DefaultMaxData
	for name, c := range map[string]struct {
		small, large int
		limit        streams.ReadLimit
		most         int // bytes of a reply
	}{
		"large":             {0, 200, streams.ReadLimit{Events: 1000, Bytes: 256 << 10}, maxReply},
		"large after small": {100, 300, streams.ReadLimit{Events: 128, Bytes: 256 << 10}, maxReply},
		"fewer bytes":       {100, 200, streams.ReadLimit{Events: 128, Bytes: 64 << 10}, maxReply},
		"fewer events":      {100, 100, streams.ReadLimit{Events: 32, Bytes: 64 << 10}, minReply},
		"one event":         {0, 10, streams.ReadLimit{Events: 10, Bytes: 100}, minReply},
		"more bytes":        {100, 300, streams.ReadLimit{Events: 1000, Bytes: 3 << 20}, maxExcess * 3 << 20},
		"positions":         {100, 300, streams.ReadLimit{Events: 1000, WithoutData: true}, maxReply},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
			rooms := numbered(1)
			fillRooms(t, l, rooms, c.small, 100)
			fillRooms(t, l, rooms, c.large, size)
			var sizes replySizer
			l.client.AddHook(&sizes)
			if n := readPages(t, l, rooms, c.limit); n != c.small+c.large {
				t.Errorf("%d events, want %d", n, c.small+c.large)
			}
			if fields := fieldBytes * c.most / size; sizes.largest > c.most+fields {
				t.Errorf("a reply of %d bytes, want at most %d and %d for other fields", sizes.largest, c.most, fields)
			}
			if room := c.large*size + c.small*100; sizes.bytes > 2*room+2*c.most {
				t.Errorf("replies of %d bytes together, for a room of %d", sizes.bytes, room)
			}
		})
	}
}

// Large foreign entries do not end a page. They come together only until their size is known.
func TestLargeForeignEntries(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	const size = 1 << 20
	for range 10 {
		put(t, l, draft("r", "1"))
		if err := server.Client().XAdd(t.Context(), &redis.XAddArgs{
			Stream: l.partitions[0].Stream("r"), Values: []any{"foreign", strings.Repeat("x", size)},
		}).Err(); err != nil {
			t.Fatal(err)
		}
		for {
			if r := l.Append(t.Context(), []streams.Draft{draft("r", "1")})[0]; r.Err == nil {
				break // the foreign id was ahead of the log's by no more than the clock has moved
			}
		}
	}
	var sizes replySizer
	l.client.AddHook(&sizes)
	for range 2 {
		sizes.largest = 0
		page, err := l.After(t.Context(), "r", streams.ID{}, watermarks(t, l).Last, streams.ReadLimit{Events: 100, Bytes: 256 << 10})
		if err != nil || len(page.Events) != 20 || page.More {
			t.Errorf("%d events, More %v, %v; want 20 and no more", len(page.Events), page.More, err)
		}
	}
	if sizes.largest > 3*size {
		t.Errorf("a reply of %d bytes, although the size of the entries is known", sizes.largest)
	}
}

// A partition serves a bounded number of reads at once. A read that waits ends with its
// context, and the next one goes on.
func TestReadsAtOnceAreBounded(t *testing.T) {
	p := newPartition(keys.Partition{})
	var ends []func()
	for range maxReads {
		end, err := p.beginRead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.beginRead(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("one read too many: %v, want the context's error", err)
	}
	ends[0]()
	if _, err := p.beginRead(t.Context()); err != nil {
		t.Fatal(err)
	}
}
