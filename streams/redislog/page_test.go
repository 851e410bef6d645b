package redislog

import (
	"context"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A replySizer is a hook that measures the replies to reads.
type replySizer struct{ replies, largest int }

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
			s.largest = max(s.largest, size)
		}
		return err
	}
}

// However the sizes of a room's entries are mixed, no reply of Redis exceeds the bytes of the
// page by more than maxExcess.
func TestReplyIsBoundedInBytes(t *testing.T) {
	server := redistest.Shared(t)
	const size, bytes = streams.DefaultMaxData, 256 << 10
	large := `"` + strings.Repeat("x", size-2) + `"`
	for name, c := range map[string]struct {
		small, large int
		limit        streams.ReadLimit
		events, most int // of the page, and bytes of a reply
	}{
		"large":             {0, 100, streams.ReadLimit{Events: 1000, Bytes: bytes}, 4, bytes},
		"large after small": {25, 100, streams.ReadLimit{Events: 1000, Bytes: bytes}, 28, maxExcess * bytes},
		"fewer bytes":       {25, 100, streams.ReadLimit{Events: 1000, Bytes: 5000}, 25, maxExcess * size},
		"positions":         {25, 100, streams.ReadLimit{Events: 1000, WithoutData: true}, 125, maxExcess * positionBytes},
	} {
		t.Run(name, func(t *testing.T) {
			l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
			for range c.small {
				put(t, l, draft("r", "1"))
			}
			for range c.large {
				put(t, l, draft("r", large))
			}
			var sizes replySizer
			l.client.AddHook(&sizes)
			page, err := l.After(t.Context(), "r", streams.ID{}, watermarks(t, l).Last, c.limit)
			if err != nil || len(page.Events) != c.events {
				t.Errorf("%d events, %v; want %d", len(page.Events), err, c.events)
			}
			if fields := 50 * c.most / size; sizes.largest > c.most+fields {
				t.Errorf("a reply of %d bytes, want at most %d and %d for other fields", sizes.largest, c.most, fields)
			}
			if sizes.replies > 12 {
				t.Errorf("%d replies for %d events", sizes.replies, c.events)
			}
		})
	}
}

// Large foreign entries do not come together, and do not end a page.
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
	page, err := l.After(t.Context(), "r", streams.ID{}, watermarks(t, l).Last, streams.ReadLimit{Events: 100, Bytes: 256 << 10})
	if err != nil || len(page.Events) != 20 || page.More {
		t.Errorf("%d events, More %v, %v; want 20 and no more", len(page.Events), page.More, err)
	}
	if sizes.largest > 3*size {
		t.Errorf("a reply of %d bytes, want at most those of the first round", sizes.largest)
	}
}
