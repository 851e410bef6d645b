package redislog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/tests/redistest"
)

func BenchmarkLog(b *testing.B) {
	logtest.Bench(b, func(b *testing.B) streams.Log {
		return open(b, Options{URL: redistest.Shared(b).URL(), Prefix: newPrefix()})
	})
}

// BenchmarkFullRoom publishes batches of 64 into a room that is at its limit. It measures
// the script and the trim.
func BenchmarkFullRoom(b *testing.B) {
	const batch = 64
	l := open(b, Options{URL: redistest.Shared(b).URL(), Prefix: newPrefix()})
	drafts := make([]streams.Draft, batch)
	for i := range drafts {
		drafts[i] = draft("full", `{"text":"the quick brown fox jumps over the lazy dog, and over and over again"}`)
	}
	appendAll := func() {
		for _, r := range l.Append(b.Context(), drafts) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	for range 1000/batch + 1 {
		appendAll()
	}
	for b.Loop() {
		appendAll()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*batch), "µs/event")
}

// BenchmarkRead reads a page that is limited in bytes, positions, and for comparison the same
// entries with one XRANGE. It also reports the time that Redis needs for each.
func BenchmarkRead(b *testing.B) {
	server := redistest.Start(b)
	l := open(b, Options{URL: server.URL()})
	for _, c := range []struct{ events, size int }{{1, 100}, {4, 100}, {128, 100}, {1000, 100}, {1, 64 << 10}, {4, 64 << 10}, {16, 64 << 10}} {
		room := streams.Room(fmt.Sprintf("%d-of-%d", c.events, c.size))
		d := draft(room, `"`+strings.Repeat("x", c.size-2)+`"`)
		for range c.events {
			put(b, l, d)
		}
		last := put(b, l, d)
		for name, read := range map[string]func() int{
			"page": func() int {
				limit := streams.ReadLimit{Events: c.events, Bytes: max(c.events*c.size, 256<<10)}
				page, err := l.After(b.Context(), room, streams.ID{}, last, limit)
				if err != nil {
					b.Fatal(err)
				}
				return len(page.Events)
			},
			"positions": func() int {
				limit := streams.ReadLimit{Events: c.events, WithoutData: true}
				page, err := l.After(b.Context(), room, streams.ID{}, last, limit)
				if err != nil {
					b.Fatal(err)
				}
				return len(page.Events)
			},
			"xrange": func() int {
				events := 0
				reply := l.client.Do(b.Context(), "xrange", l.partitions[0].Stream(room), "-", "+", "count", c.events).Val().([]any)
				for _, value := range reply {
					if _, _, err := entry.Parse(room, 0, value); err == nil {
						events++
					}
				}
				return events
			},
		} {
			b.Run(string(room)+"/"+name, func(b *testing.B) {
				server.Client().ConfigResetStat(b.Context())
				b.ReportAllocs()
				for b.Loop() {
					if n := read(); n != c.events {
						b.Fatalf("%d events, want %d", n, c.events)
					}
				}
				b.ReportMetric(redisTime(b, server)/float64(b.N), "redis-µs/op")
			})
		}
	}
}

// BenchmarkReplay reads rooms page by page, as a replay does. It reports the calls to Redis:
// each costs a round trip.
func BenchmarkReplay(b *testing.B) {
	server := redistest.Start(b)
	for _, c := range []struct{ rooms, events, size, bytes int }{
		{1, 1000, 100, 256 << 10},
		{10, 100, 100, 64 << 10},
		{100, 1, 100, 64 << 10},
		{100, 10, 100, 64 << 10},
		{100, 100, 100, 64 << 10},
		{100, 100, 1000, 64 << 10},
		{1000, 10, 100, 64 << 10},
		{100, 10, 8000, 64 << 10},
		{100, 4, 60_000, 64 << 10},
	} {
		b.Run(fmt.Sprintf("%dx%dx%d", c.rooms, c.events, c.size), func(b *testing.B) {
			l := open(b, Options{URL: server.URL(), Prefix: newPrefix()})
			rooms := numbered(c.rooms)
			fillRooms(b, l, rooms, c.events, c.size)
			var sizes replySizer
			l.client.AddHook(&sizes)
			server.Client().ConfigResetStat(b.Context())
			b.ReportAllocs()
			for b.Loop() {
				if n := readPages(b, l, rooms, streams.ReadLimit{Events: 128, Bytes: c.bytes}); n != c.rooms*c.events {
					b.Fatalf("%d events, want %d", n, c.rooms*c.events)
				}
			}
			b.ReportMetric(float64(sizes.replies)/float64(b.N), "calls/op")
			b.ReportMetric(float64(sizes.bytes)/float64(b.N), "reply-B/op")
			b.ReportMetric(redisTime(b, server)/float64(b.N), "redis-µs/op")
		})
	}
}

// redisTime returns the microseconds that Redis has spent on XRANGE since the last reset of
// its statistics.
func redisTime(b *testing.B, server *redistest.Server) float64 {
	stats := server.Client().Info(b.Context(), "commandstats").Val()
	m := regexp.MustCompile(`cmdstat_xrange:.*usec=([0-9]+)`).FindStringSubmatch(stats)
	if m == nil {
		b.Fatalf("no statistics of XRANGE: %s", stats)
	}
	us, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return us
}
