package logtest

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// Bench measures a log: appends from one goroutine, from 64, and in batches of 100, and
// reads of pages. Rooms have a cap of 1,000 events, as in production.
func Bench(b *testing.B, open func(b *testing.B) streams.Log) {
	b.Run("Append", func(b *testing.B) { benchAppend(b, open(b)) })
	b.Run("AppendParallel64", func(b *testing.B) { benchAppendParallel(b, open(b), "") })
	b.Run("AppendParallel64Keyed", func(b *testing.B) { benchAppendParallel(b, open(b), "key") })
	b.Run("AppendBatch100", func(b *testing.B) { benchAppendBatch(b, open(b)) })
	for _, page := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("After%d", page), func(b *testing.B) { benchAfter(b, open(b), page) })
	}
}

// benchDraft returns a draft of typical size for one of 100 rooms.
func benchDraft(n int) streams.Draft {
	return streams.Draft{
		Room:      streams.Room(fmt.Sprintf("bench-%d", n%100)),
		Type:      streams.DefaultType,
		Data:      fmt.Appendf(nil, `{"n":%d,"text":"the quick brown fox jumps over the lazy dog, and over and over again"}`, n),
		Retention: streams.Retention{Events: 1000, Age: 24 * time.Hour},
	}
}

func mustAppend(b *testing.B, log streams.Log, drafts ...streams.Draft) {
	for _, r := range log.Append(b.Context(), drafts) {
		if r.Err != nil {
			b.Error(r.Err)
		}
	}
}

func benchAppend(b *testing.B, log streams.Log) {
	for i := 0; b.Loop(); i++ {
		mustAppend(b, log, benchDraft(i))
	}
	reportRate(b, 1)
}

func benchAppendParallel(b *testing.B, log streams.Log, key string) {
	b.SetParallelism(max(1, 64/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			d := benchDraft(rand.Int())
			if key != "" {
				d.Key = fmt.Sprint(key, rand.Uint64())
			}
			mustAppend(b, log, d)
		}
	})
	reportRate(b, 1)
}

func benchAppendBatch(b *testing.B, log streams.Log) {
	batch := make([]streams.Draft, 100)
	for i := range batch {
		batch[i] = benchDraft(i)
	}
	for b.Loop() {
		mustAppend(b, log, batch...)
	}
	reportRate(b, len(batch))
}

func benchAfter(b *testing.B, log streams.Log, page int) {
	d := benchDraft(0)
	for range 10 {
		batch := make([]streams.Draft, 100)
		for i := range batch {
			batch[i] = d
		}
		mustAppend(b, log, batch...)
	}
	b.ReportAllocs()
	for b.Loop() {
		got, err := log.After(b.Context(), d.Room, streams.ID{}, end(), upTo(page))
		if err != nil || len(got.Events) != page {
			b.Fatalf("After gave %d events, want %d: %v", len(got.Events), page, err)
		}
	}
	reportRate(b, page)
}

// reportRate reports events per second, for perStep events per iteration.
func reportRate(b *testing.B, perStep int) {
	b.ReportMetric(float64(b.N*perStep)/b.Elapsed().Seconds(), "events/s")
}
