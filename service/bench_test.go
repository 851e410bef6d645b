package service_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A crowd is n live connections of one room. They discard their events.
type crowd struct {
	log      *memLog
	node     *service.Node
	subs     []*service.Subscription
	notified sync.WaitGroup // done when each was notified of an event
}

func newCrowd(b *testing.B, n int) *crowd {
	log := newMemLog()
	c := &crowd{log: log, node: service.New(log, nil), subs: make([]*service.Subscription, n)}
	b.Cleanup(c.node.Close)
	for i := range c.subs {
		sub, err := c.node.Subscribe(b.Context(), []streams.Room{"a"}, replay.Now(), c.notified.Done)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(sub.Close)
		c.subs[i] = sub
	}
	c.take(b)
	return c
}

// broadcast publishes an event and returns when every connection was notified.
func (c *crowd) broadcast(b *testing.B) {
	c.notified.Add(len(c.subs))
	c.log.Append(b.Context(), []streams.Draft{{Room: "a", Data: []byte(`{"text":"hello"}`)}})
	c.notified.Wait()
}

// take makes every connection take its items.
func (c *crowd) take(b *testing.B) {
	for _, s := range c.subs {
		for more := true; more; {
			batch, ok := s.Ready()
			if !ok {
				var err error
				if batch, err = s.Next(b.Context()); err != nil {
					b.Error(err)
				}
			}
			more = batch.More
		}
	}
}

// Measures from an event in the feed until every connection of its room has taken it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("subscriptions=%d", n), func(b *testing.B) {
			c := newCrowd(b, n)
			b.ReportAllocs()
			for b.Loop() {
				c.broadcast(b)
				c.take(b)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/delivery")
		})
	}
}

// Measures the first half of a fan-out: until every connection was notified.
func BenchmarkEnqueue(b *testing.B) {
	c := newCrowd(b, 10_000)
	var spent time.Duration
	for b.Loop() {
		began := time.Now()
		c.broadcast(b)
		spent += time.Since(began)
		c.take(b)
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/broadcast")
}

// Measures subscribing and closing while events are delivered to 10,000 other connections.
func BenchmarkRegister(b *testing.B) {
	c := newCrowd(b, 10_000)
	var others sync.WaitGroup
	defer others.Wait()
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	others.Go(func() {
		for ctx.Err() == nil {
			c.broadcast(b)
			c.take(b)
		}
	})
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		sub, err := c.node.Subscribe(b.Context(), []streams.Room{"a"}, replay.Now(), func() {})
		if err != nil {
			b.Fatal(err)
		}
		sub.Close()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(took[len(took)*999/1000].Nanoseconds()), "p99.9-ns")
}

// Measures a client that returns for the newest 100 of 1,000 events. They come from the hot
// tail, or from the log if the tail is too small for them.
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
					got, live = got+len(batch.Items), batch.ReplayDone
					if live && got != 100 {
						b.Fatalf("%d events, want 100", got)
					}
				}
				sub.Close()
			}
		})
	}
}
