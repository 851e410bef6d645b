package service_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

// An idle subscription is notified once of each outage, although it does not read the log.
// It is not notified of the end of an outage.
func TestOutageIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		var notified atomic.Int64
		sub, err := node.Subscribe(t.Context(), []streams.Room{"a", "b"}, replay.Now(), func() { notified.Add(1) })
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		idle := func() {
			t.Helper()
			for {
				b, err := sub.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if b.Empty() {
					return
				}
			}
		}
		idle()
		var last uint64
		for range 2 {
			if id := sub.Outage(); id != 0 {
				t.Fatalf("outage %d while the log answers", id)
			}
			before := notified.Load()
			log.set(func() { log.down = true })
			time.Sleep(10 * time.Second)
			synctest.Wait()
			id := sub.Outage()
			if id == 0 || id == last || notified.Load() != before+1 {
				t.Fatalf("outage %d after %d, %d calls of notify", id, last, notified.Load()-before)
			}
			last = id
			idle()
			time.Sleep(time.Minute)
			if sub.Outage() != id || notified.Load() != before+1 {
				t.Fatal("notified twice of one outage")
			}
			log.set(func() { log.down = false })
			time.Sleep(10 * time.Second)
			synctest.Wait()
		}
		if id := sub.Outage(); id != 0 {
			t.Errorf("outage %d after its end", id)
		}
	})
}

// During an outage the node serves history and resumes clients from memory. A page that may
// lack an event is an error.
func TestServesFromMemoryInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		old := log.publish("a", 5)
		node := service.New(log, &service.Options{Hot: 10})
		defer node.Close()
		f, err := follow(node, "f", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		synctest.Wait()
		sent := log.publish("a", 20)
		synctest.Wait()
		log.set(func() { log.down = true })

		history := func(q service.HistoryQuery) ([]streams.ID, streams.ID, error) {
			page, err := node.History(t.Context(), "a", q)
			var got []streams.ID
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			return got, page.Next, err
		}
		hot := sent[10:]
		for name, c := range map[string]struct {
			query service.HistoryQuery
			want  []streams.ID
			next  streams.ID
		}{
			"after the first kept": {service.HistoryQuery{After: hot[0], Limit: 100}, hot[1:], streams.ID{}},
			"after the one before": {service.HistoryQuery{After: sent[9], Limit: 4}, hot[:4], hot[3]},
			"after the last":       {service.HistoryQuery{After: sent[19], Limit: 4}, nil, streams.ID{}},
			"between":              {service.HistoryQuery{After: hot[1], Before: hot[4], Limit: 4}, hot[2:4], streams.ID{}},
			"newest":               {service.HistoryQuery{Newest: true, Limit: 2}, []streams.ID{hot[9], hot[8]}, hot[8]},
			"newest before":        {service.HistoryQuery{Newest: true, Before: hot[2], Limit: 2}, []streams.ID{hot[1], hot[0]}, hot[0]},
			"newest after":         {service.HistoryQuery{Newest: true, After: hot[7], Limit: 9}, []streams.ID{hot[9], hot[8]}, streams.ID{}},
		} {
			if got, next, err := history(c.query); err != nil || !slices.Equal(got, c.want) || next != c.next {
				t.Errorf("%s: %v, next %s, %v; want %v, next %s", name, got, next, err, c.want, c.next)
			}
		}
		for name, q := range map[string]service.HistoryQuery{
			"from the beginning":   {Limit: 100},
			"from before the tail": {After: old[0], Limit: 100},
			"more than the tail":   {Newest: true, Limit: 11},
			"another log's cursor": {After: streams.MakeID(9, 1, 0), Limit: 1},
		} {
			if got, _, err := history(q); !errors.Is(err, streams.ErrUnavailable) {
				t.Errorf("%s: %d events, %v, want ErrUnavailable", name, len(got), err)
			}
		}
		if _, err := node.History(t.Context(), "b", service.HistoryQuery{Limit: 1}); !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("a room that is not followed: %v", err)
		}

		back, err := follow(node, "back", []streams.Room{"a"}, replay.After(replay.CursorAt(sent[12])))
		if err != nil {
			t.Fatal(err)
		}
		defer back.cut()
		synctest.Wait()
		if d := logtest.Compare(sent[13:], back.received()); !d.OK() {
			t.Errorf("resumed in the outage: %v", d)
		}
		log.set(func() { log.down = false })
		more := log.publish("a", 3)
		synctest.Wait()
		if d := logtest.Compare(append(sent[13:], more...), back.received()); !d.OK() {
			t.Errorf("after the outage: %v", d)
		}
	})
}

// A node whose feed does not reconnect is not ready, although the log answers: it would not
// deliver the events that other nodes publish.
func TestNotReadyWithoutAFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		f, err := follow(node, "f", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		ready := func(want bool) {
			t.Helper()
			synctest.Wait()
			if err := node.Ready(t.Context()); (err == nil) != want {
				t.Errorf("Ready = %v", err)
			}
		}
		time.Sleep(time.Minute)
		ready(true)
		log.loseFeeds()
		ready(true) // the feed may reconnect in a moment
		time.Sleep(10 * time.Second)
		ready(false)
		log.rejoinFeeds()
		ready(true)
	})
}
