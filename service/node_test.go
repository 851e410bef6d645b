package service_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

// checks is the number of random runs of the model test; the flag -rapid.checks overrides
// it. Rapid's default of 100 missed failures that 10,000 runs found.
const checks = "3000"

func TestMain(m *testing.M) {
	if err := flag.Set("rapid.checks", checks); err != nil { // before flags are parsed
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// ids returns the ids of the events among items.
func ids(items []replay.Item) []streams.ID {
	var out []streams.ID
	for _, it := range items {
		if it.Event != nil {
			out = append(out, it.Event.ID)
		}
	}
	return out
}

func (l *memLog) publish(room streams.Room, n int) []streams.ID {
	var out []streams.ID
	for range n {
		out = append(out, l.Append(context.Background(), []streams.Draft{{Room: room, Data: l.data()}})[0].ID)
	}
	return out
}

// someData is shared by the events of all tests.
var someData = bytes.Repeat([]byte("1"), 300<<10)

// data returns the data of the next event.
func (l *memLog) data() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sizes) == 0 {
		return someData[:1]
	}
	return someData[:l.sizes[l.clock%uint64(len(l.sizes))]]
}

func (f *testClient) received() []streams.ID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ids(f.items)
}

func cursorAt(seq uint64) replay.Start {
	return replay.After(replay.CursorAt(streams.MakeID(1, seq, 0)))
}

// A subscription reads the watermarks. Before it goes live, the feed is lost, an event is
// published, and the feed reconnects. If the subscription still used these watermarks, the
// event would wait for the tail check.
func TestFeedLostWhileASubscriptionOpens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, &service.Options{CheckEvery: time.Hour})
		defer node.Close()
		var missed []streams.ID
		log.onWatermarks = func() {
			log.loseFeeds()
			missed = log.publish("a", 1)
			log.rejoinFeeds()
			synctest.Wait()
		}
		f, err := follow(node, "f", []streams.Room{"a"}, cursorAt(1))
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		synctest.Wait()
		if d := logtest.Compare(missed, f.received()); !d.OK() {
			t.Error(d)
		}
	})
}

// 10,000 clients return at once with 100 different cursors. The room is read about once,
// and each client receives exactly the events after its cursor.
func TestReconnectStormReadsTheLogOnce(t *testing.T) {
	log := newMemLog()
	sent := log.publish("a", 500)
	node := service.New(log, nil)
	defer node.Close()
	const clients = 10_000
	var wrong atomic.Int64
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			from := i % 100
			sub, err := node.Subscribe(t.Context(), []streams.Room{"a"}, replay.After(replay.CursorAt(sent[from])), func() {})
			if err != nil {
				t.Error(err)
				return
			}
			defer sub.Close()
			var got []streams.ID
			for live := false; !live; {
				b, err := sub.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				got, live = append(got, ids(b.Items)...), b.ReplayDone
			}
			if d := logtest.Compare(sent[from+1:], got); !d.OK() {
				wrong.Add(1)
			}
		})
	}
	all.Wait()
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d of %d clients did not receive exactly the events after their cursor", n, clients)
	}
	// Clients that ask during a read of the watermarks share it. One read would be enough if
	// all asked at the same moment, but 10,000 goroutines do not.
	log.set(func() {
		if log.reads > 2 || log.watermarkReads > clients/20 {
			t.Errorf("%d reads of events and %d of watermarks for %d clients", log.reads, log.watermarkReads, clients)
		}
	})
}

// A connection that does not read has a bounded queue and delays no other. When it reads
// again, it receives every event in order.
func TestStalledConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.cap = 5000
		node := service.New(log, &service.Options{Queue: 16, Hot: 32})
		defer node.Close()
		stalled, err := follow(node, "stalled", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.cut()
		other, err := follow(node, "other", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer other.cut()
		synctest.Wait()
		<-stalled.gate
		var sent []streams.ID
		for range 200 {
			sent = append(sent, log.publish("a", 10)...)
			synctest.Wait()
		}
		if d := logtest.Compare(sent, other.received()); !d.OK() {
			t.Errorf("with a stalled connection beside it: %v", d)
		}
		stalled.gate <- struct{}{}
		time.Sleep(time.Second)
		if d := logtest.Compare(sent, stalled.received()); !d.OK() {
			t.Errorf("the stalled connection: %v", d)
		}
	})
}

// A connection that falls behind the oldest event of the log receives a gap notice and then
// the oldest events kept.
func TestFallsOffTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.cap = 50
		node := service.New(log, &service.Options{Queue: 4, Hot: 8})
		defer node.Close()
		f, err := follow(node, "f", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		synctest.Wait()
		<-f.gate
		sent := log.publish("a", 200)
		synctest.Wait()
		f.gate <- struct{}{}
		time.Sleep(time.Second)
		if d := logtest.Compare(sent[150:], f.received()); !d.OK() {
			t.Error(d)
		}
		gap := f.items[0].Gap
		if gap == nil || gap.Reason != replay.Trimmed || gap.Before != sent[150] {
			t.Errorf("the first item is %+v, want a gap notice up to %v", f.items[0], sent[150])
		}
	})
}

// The position of a connection that received nothing moves forward while its room is silent.
// The tail check proves it, not the passing of time.
func TestPositionOfASilentRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		sub, err := node.Subscribe(t.Context(), []streams.Room{"silent"}, replay.Now(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		if _, err := sub.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		log.publish("elsewhere", 100)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		c, ok := sub.Position()
		if !ok || c.Position(0) != log.lastLocked() {
			t.Errorf("Position() = %v, %v; want the log's last, %v", c, ok, log.lastLocked())
		}
		log.set(func() { log.loseFrame = func(*streams.Event) bool { return true } })
		lost := log.publish("silent", 1)[0]
		log.publish("elsewhere", 1)
		if c, _ := sub.Position(); !c.Position(0).Before(lost) {
			t.Errorf("the position %v has passed an event that was not sent, %v", c, lost)
		}
		log.set(func() { log.loseFrame = nil })
		log.publish("silent", 1)
		synctest.Wait()
		if c, ok := sub.Position(); ok {
			t.Errorf("Position() = %v while events wait to be taken", c)
		}
	})
}

// Subscribe fails if the log or the feed does not answer.
func TestSubscribeDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.down = true
		node := service.New(log, nil)
		defer node.Close()
		_, err := node.Subscribe(t.Context(), []streams.Room{"a"}, replay.Earliest(), func() {})
		if !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("Subscribe: %v, want ErrUnavailable", err)
		}
		log.loseFeeds()
		synctest.Wait()
		_, err = node.Subscribe(t.Context(), []streams.Room{"b"}, replay.Now(), func() {})
		if !errors.Is(err, streams.ErrUnavailable) {
			t.Errorf("Subscribe without a feed: %v, want ErrUnavailable", err)
		}
	})
}

// A room without followers is left after the linger time, and not before.
func TestLinger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, &service.Options{Linger: 10 * time.Second})
		defer node.Close()
		joined := func() int {
			log.mu.Lock()
			defer log.mu.Unlock()
			return len(log.feeds[0].joined)
		}
		for i := range 50 {
			f, err := follow(node, "f", []streams.Room{streams.Room(fmt.Sprintf("r%d", i))}, replay.Now())
			if err != nil {
				t.Fatal(err)
			}
			f.cut()
		}
		time.Sleep(5 * time.Second)
		if n := joined(); n != 50 {
			t.Errorf("%d rooms after 5 s, want 50", n)
		}
		time.Sleep(10 * time.Second)
		if n := joined(); n != 0 {
			t.Errorf("%d rooms after 15 s, want none", n)
		}
	})
}

func TestHistory(t *testing.T) {
	log := newMemLog()
	log.cap = 10
	node := service.New(log, nil)
	defer node.Close()
	all := log.publish("a", 15)
	log.publish("b", 3)
	kept := all[5:]
	for _, c := range []struct {
		name      string
		q         service.HistoryQuery
		want      []streams.ID
		next      streams.ID
		truncated bool
	}{
		{"all", service.HistoryQuery{Limit: 100}, kept, streams.ID{}, false},
		{"a page", service.HistoryQuery{Limit: 4}, kept[:4], kept[3], false},
		{"exactly the rest", service.HistoryQuery{Limit: 6, After: kept[3]}, kept[4:], streams.ID{}, false},
		{"from the last trimmed", service.HistoryQuery{Limit: 100, After: all[4]}, kept, streams.ID{}, false},
		{"from before it", service.HistoryQuery{Limit: 100, After: all[3]}, kept, streams.ID{}, true},
		{"between", service.HistoryQuery{Limit: 100, After: kept[2], Before: kept[5]}, kept[3:5], streams.ID{}, false},
		{"newest", service.HistoryQuery{Limit: 2, Newest: true}, []streams.ID{kept[9], kept[8]}, kept[8], false},
		{"newest, to the end", service.HistoryQuery{Limit: 5, Newest: true, After: all[3], Before: kept[2]},
			[]streams.ID{kept[1], kept[0]}, streams.ID{}, true},
		{"newest after", service.HistoryQuery{Limit: 5, Newest: true, After: kept[7]}, []streams.ID{kept[9], kept[8]}, streams.ID{}, false},
	} {
		page, err := node.History(t.Context(), "a", c.q)
		if err != nil {
			t.Fatal(err)
		}
		var got []streams.ID
		for _, e := range page.Events {
			got = append(got, e.ID)
		}
		if d := logtest.Compare(c.want, got); !d.OK() || page.Next != c.next || page.Truncated != c.truncated {
			t.Errorf("%s: %v, next %v (want %v), truncated %v (want %v)", c.name, d, page.Next, c.next, page.Truncated, c.truncated)
		}
	}
}

// The first rule that matches decides about a room.
func TestRetentionRules(t *testing.T) {
	log := newMemLog()
	var seen []streams.Retention
	node := service.New(retentionRecorder{log, &seen}, &service.Options{Retention: []service.RetentionRule{
		{Pattern: "chat:*:typing", Retention: streams.Retention{}},
		{Pattern: "chat:*", Retention: streams.Retention{Events: 7, Age: time.Hour}},
	}})
	defer node.Close()
	node.Publish(t.Context(), []streams.Draft{{Room: "chat:a:typing"}, {Room: "chat:a"}, {Room: "chat:"}, {Room: "other:chat:a"}})
	want := []streams.Retention{{}, {Events: 7, Age: time.Hour}, {Events: 7, Age: time.Hour}, service.DefaultRetention()}
	if d := logtest.Compare([]string{fmt.Sprint(want)}, []string{fmt.Sprint(seen)}); !d.OK() {
		t.Errorf("the drafts have %v, want %v", seen, want)
	}
}

type retentionRecorder struct {
	*memLog
	seen *[]streams.Retention
}

func (l retentionRecorder) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	for _, d := range drafts {
		*l.seen = append(*l.seen, d.Retention)
	}
	return l.memLog.Append(ctx, drafts)
}
