package service_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// From an event in the feed to every connection of its room having been
// notified and having taken it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			log := newMemLog()
			node := service.New(log, nil)
			defer node.Close()
			var told sync.WaitGroup
			subs := make([]*service.Subscription, n)
			for i := range subs {
				var err error
				subs[i], err = node.Subscribe(b.Context(), []streams.Room{"a"}, replay.Now(), told.Done)
				if err != nil {
					b.Fatal(err)
				}
				defer subs[i].Close()
				for live := false; !live; {
					batch, _ := subs[i].Next(b.Context())
					live = batch.Live
				}
				subs[i].Next(b.Context())
			}
			draft := []streams.Draft{{Room: "a", Data: []byte(`{"text":"hello"}`)}}
			b.ReportAllocs()
			for b.Loop() {
				told.Add(n)
				log.Append(context.Background(), draft)
				told.Wait()
				for _, s := range subs {
					s.Next(b.Context())
					s.Next(b.Context())
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
		})
	}
}

// A client comes back for the newest hundred of a thousand events: from the hot
// tail, and, with a tail too small to hold them, in pages from the log.
func BenchmarkResume(b *testing.B) {
	for name, hot := range map[string]int{"hot": 1000, "log": 10} {
		b.Run(name, func(b *testing.B) {
			log := newMemLog()
			sent := log.publish("a", 1000)
			node := service.New(log, &service.Options{Hot: hot})
			defer node.Close()
			start := replay.After(replay.CursorAt(sent[899]))
			b.ReportAllocs()
			for b.Loop() {
				sub, err := node.Subscribe(b.Context(), []streams.Room{"a"}, start, func() {})
				if err != nil {
					b.Fatal(err)
				}
				for got, live := 0, false; !live; {
					batch, _ := sub.Next(b.Context())
					got, live = got+len(batch.Items), batch.Live
					if live && got != 100 {
						b.Fatalf("%d events, want 100", got)
					}
				}
				sub.Close()
			}
		})
	}
}
