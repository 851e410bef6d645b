package redislog

import (
	"testing"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
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
