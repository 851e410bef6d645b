package service_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

// Each test in this file shows a defect of an earlier version, in its smallest form.

// verifySettled lets everything settle, and compares the items of a client with the log.
func verifySettled(t *testing.T, log *memLog, f *testClient) {
	t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if err := log.verify(f, log.lastLocked()); err != nil {
		t.Errorf("%s: %v\nreceived%s", f.name, err, describe(f.items))
	}
}

func mustFollow(t *testing.T, node *service.Node, name string, rooms []streams.Room, start replay.Start) *testClient {
	t.Helper()
	f, err := follow(node, name, rooms, start)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The first read of a room's watermarks may be ahead of the pump. The hot tails of this room
// and another then do not show one moment. A connection of both rooms that went live after
// the first lost the events of the second that the pump had not delivered yet.
func TestHotTailsOfOneMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		log.publish("b", 1)
		warm := mustFollow(t, node, "warm", []streams.Room{"a"}, replay.Now())
		defer warm.cut()
		mark := log.publish("a", 1)[0]
		synctest.Wait()
		log.beforeWatermarks = func() {
			log.set(func() { log.slow = true })
			log.publish("a", 1)
			log.publish("b", 1)
		}
		f := mustFollow(t, node, "f", []streams.Room{"a", "b"}, replay.After(replay.CursorAt(mark)))
		defer f.cut()
		synctest.Wait()
		log.flow()
		verifySettled(t, log, f)
	})
}

// A subscription read the watermarks before the log lost its end, and the hot tail restarted
// after the loss. Filled back to the old floor, the tail hid the loss from returning clients.
func TestHotTailDoesNotReachBehindALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.publish("a", 8) // 2 to 9
		node := service.New(log, nil)
		defer node.Close()
		warm := mustFollow(t, node, "warm", []streams.Room{"a"}, cursorAt(9))
		defer warm.cut()
		synctest.Wait()
		log.onWatermarks = func() {
			log.loseEnd(4)
			log.publish("a", 1) // shows the loss to the pump
			synctest.Wait()
		}
		for _, name := range []string{"first", "second"} {
			f := mustFollow(t, node, name, []streams.Room{"a"}, cursorAt(3))
			defer f.cut()
			verifySettled(t, log, f)
		}
	})
}

// The queue overflowed between two checks of whether the subscription is live. Next returned
// an empty batch, and notify was never called again. A test cannot make that moment longer:
// only some runs on the old code fail.
func TestEmptyMeansNotified(t *testing.T) {
	log := newMemLog()
	node := service.New(log, &service.Options{Queue: 1})
	defer node.Close()
	warm := mustFollow(t, node, "warm", []streams.Room{"a"}, replay.Now())
	defer warm.cut()
	var newest atomic.Pointer[streams.ID]
	newest.Store(&log.publish("a", 1)[0])
	var tries, publisher sync.WaitGroup
	stop := make(chan struct{})
	publisher.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if log.backlog() > 1<<15 {
					time.Sleep(time.Millisecond) // a full feed blocks memLog while the pump reads it
					continue
				}
				newest.Store(&log.publish("a", 3)[2])
			}
		}
	})
	for range 8 {
		tries.Go(func() {
			for range 1000 {
				if !firstBatches(t, node, *newest.Load()) {
					return
				}
			}
		})
	}
	tries.Wait()
	close(stop)
	publisher.Wait()
}

// firstBatches takes the items of a new subscription until it is live. It reports whether
// that succeeded.
func firstBatches(t *testing.T, node *service.Node, from streams.ID) bool {
	sub, err := node.Subscribe(t.Context(), []streams.Room{"a"}, replay.After(replay.CursorAt(from)), func() {})
	if err != nil {
		t.Error(err)
		return false
	}
	defer sub.Close()
	for {
		b, err := sub.Next(t.Context())
		switch {
		case err != nil:
			t.Error(err)
			return false
		case b.ReplayDone:
			return true
		case b.Empty():
			t.Error("an empty batch of a subscription that is not live yet")
			return false
		}
	}
}

// Events of an ephemeral room arrived faster than the log answered. Its subscriptions never
// went live, and read the log without end.
func TestBusyEphemeralRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.ephemeral = "e"
		node := service.New(log, nil)
		defer node.Close()
		var busy func()
		busy = func() {
			log.publish("e", 2)
			synctest.Wait()
			log.set(func() { log.onWatermarks = busy })
		}
		busy()
		f := mustFollow(t, node, "f", []streams.Room{"e"}, replay.Now())
		defer f.cut()
		time.Sleep(time.Second)
		synctest.Wait()
		log.set(func() {
			log.onWatermarks = nil
			if f.wentLive != 1 || log.watermarkReads > 3 {
				t.Errorf("live %d times after %d reads of the watermarks", f.wentLive, log.watermarkReads)
			}
		})
	})
}

// The feed broke before it had confirmed a room. A subscription that waited for the
// confirmation waited until its time limit.
func TestSubscribeWhileTheFeedBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.slow = true
		node := service.New(log, nil)
		defer node.Close()
		go func() {
			time.Sleep(time.Millisecond)
			log.set(func() { log.held, log.slow = nil, false })
			log.loseFeeds()
			time.Sleep(50 * time.Millisecond)
			log.rejoinFeeds()
		}()
		f := mustFollow(t, node, "f", []streams.Room{"a"}, replay.Earliest())
		f.cut()
	})
}

// When an event of one room shows a loss, every room receives its gap notice before any later
// event. Otherwise a client that left with a cursor past the floor would never learn of it.
func TestLossIsToldInItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		f := mustFollow(t, node, "f", []streams.Room{"a", "b"}, replay.Now())
		defer f.cut()
		log.publish("a", 2)
		log.publish("b", 2)
		synctest.Wait()
		log.loseEnd(1)
		log.publish("a", 1)
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		last := f.items[len(f.items)-1]
		if len(f.items) != 7 || last.Event == nil {
			t.Errorf("received%s, want four events, two gap notices, and then the event", describe(f.items))
		}
	})
}

// The newest n events of several rooms start at several positions. The hot tails, which know
// one position only, returned every event after the earliest.
func TestNewestOfSeveralRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		want := log.publish("$all", 1)
		want = append(want, log.publish("lobby", 500)[490:]...)
		for _, name := range []string{"cold", "warm"} {
			f := mustFollow(t, node, name, []streams.Room{"lobby", "$all"}, replay.Last(10))
			synctest.Wait()
			if d := logtest.Compare(want, f.received()); !d.OK() {
				t.Errorf("%s: %v", name, d)
			}
			f.cut()
		}
	})
}

// A page of the newest events did not report that events were missing.
func TestNewestHistoryReportsLoss(t *testing.T) {
	log := newMemLog()
	node := service.New(log, nil)
	defer node.Close()
	log.publish("lost", 5)
	log.loseEnd(2)
	log.publish("lost", 1)
	expired := log.publish("expired", 3)
	log.set(func() { log.logged["expired"] = nil })
	for room, after := range map[streams.Room]streams.ID{"lost": {}, "expired": expired[0]} {
		for _, newest := range []bool{false, true} {
			page, err := node.History(t.Context(), room, service.HistoryQuery{After: after, Limit: 10, Newest: newest})
			if err != nil || !page.Truncated {
				t.Errorf("%s, newest first %v: truncated %v, %v", room, newest, page.Truncated, err)
			}
		}
	}
}

// When the read that all returning clients shared failed, each client read on its own: every
// one of them read the slow log at once.
func TestSlowLogIsAskedByOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		sent := log.publish("a", 500)
		log.failReads = 3
		node := service.New(log, nil)
		defer node.Close()
		var failed atomic.Int64
		var all sync.WaitGroup
		var mu sync.Mutex // guards back
		back := map[int]*testClient{}
		for i := range 200 {
			all.Go(func() {
				f, err := follow(node, "f", []streams.Room{"a"}, replay.After(replay.CursorAt(sent[i])))
				if err != nil {
					failed.Add(1)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				back[i] = f
			})
		}
		all.Wait()
		synctest.Wait()
		for i, f := range back {
			if d := logtest.Compare(sent[i+1:], f.received()); !d.OK() {
				t.Error(d)
			}
			f.cut()
		}
		log.set(func() {
			if failed.Load() != 3 || log.reads != 2 {
				t.Errorf("%d clients failed and %d reads succeeded, want the 3 clients that read and the 2 reads of one fill", failed.Load(), log.reads)
			}
		})
	})
}

// A connection of several rooms is past a gap when it gets the notice, and its queue
// overflows. It alternated between queue and log, and so an event from the log was
// returned before the notice of the gap before it.
func TestGapNoticeComesBeforeLaterEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.ephemeral = "e"
		node := service.New(log, &service.Options{Queue: 2})
		defer node.Close()
		log.publish("a", 3)
		sub, err := node.Subscribe(t.Context(), []streams.Room{"a", "b", "e"}, replay.Now(), func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
		next := func() []replay.Item {
			b, err := sub.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return b.Items
		}
		next() // live
		log.loseEnd(1)
		log.publish("e", 1) // past the floor, but does not show the loss
		synctest.Wait()
		if items := next(); len(items) != 1 {
			t.Fatalf("received%s, want the ephemeral event", describe(items))
		}
		log.publish("a", 1) // shows the loss, and overflows the queue together with the notices
		synctest.Wait()
		gapSeen := false
		for range 4 {
			for _, it := range next() {
				if it.Gap != nil && it.Gap.Room == "a" {
					gapSeen = true
				} else if it.Event != nil && !gapSeen {
					t.Errorf("event %d before the gap notice", seq(it.Event.ID))
				}
			}
		}
		if !gapSeen {
			t.Error("no gap notice")
		}
	})
}

// A room's tail record expires while its newest event has not arrived yet. A missing record
// must not prove the room complete.
func TestTailRecordForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		f, err := follow(node, "f", []streams.Room{"a"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		synctest.Wait()
		log.set(func() { log.slow = true })
		sent := log.publish("a", 1)
		log.expire("a", true)
		time.Sleep(20 * time.Second) // several tail checks
		synctest.Wait()
		log.flow()
		synctest.Wait()
		if err := log.verify(f, sent[0]); err != nil {
			t.Error(err)
		}
	})
}

// The newest events of a room are lost. A page that ends with older events reports it, and a
// page of events before the loss does not.
func TestHistoryOfALoss(t *testing.T) {
	log := newMemLog()
	node := service.New(log, nil)
	defer node.Close()
	sent := log.publish("a", 5)
	log.loseEnd(2)
	for name, c := range map[string]struct {
		query     service.HistoryQuery
		truncated bool
	}{
		"newest":                       {service.HistoryQuery{Newest: true, Limit: 10}, true},
		"newest after the last kept":   {service.HistoryQuery{Newest: true, Limit: 10, After: sent[2]}, true},
		"newest of before the loss":    {service.HistoryQuery{Newest: true, Limit: 10, Before: sent[2]}, false},
		"newest after a lost one":      {service.HistoryQuery{Newest: true, Limit: 10, After: sent[3]}, true},
		"oldest":                       {service.HistoryQuery{Limit: 10, After: sent[0]}, true},
		"oldest of before the loss":    {service.HistoryQuery{Limit: 10, After: sent[0], Before: sent[2]}, false},
		"oldest, from the first there": {service.HistoryQuery{Limit: 10}, true},
	} {
		page, err := node.History(t.Context(), "a", c.query)
		if err != nil || page.Truncated != c.truncated {
			t.Errorf("%s: truncated %v, want %v; %v", name, page.Truncated, c.truncated, err)
		}
	}
}

// A replay of two rooms changes from the log to memory within a gap of one of them. The log
// has trimmed these events, but memory holds some. Events before the change were in neither,
// and their gap notice was not sent.
func TestGoesOverToMemoryWithinAHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, &service.Options{Hot: 100})
		defer node.Close()
		warm, err := follow(node, "warm", []streams.Room{"tiny", "big"}, replay.Now())
		if err != nil {
			t.Fatal(err)
		}
		defer warm.cut()
		synctest.Wait()
		log.publish("tiny", 1)
		log.publish("big", 300)
		log.publish("tiny", 1)
		last := log.publish("big", 10)
		synctest.Wait()
		log.trim("tiny", 2)
		f, err := follow(node, "f", []streams.Room{"tiny", "big"}, cursorAt(1))
		if err != nil {
			t.Fatal(err)
		}
		defer f.cut()
		synctest.Wait()
		if err := log.verify(f, last[len(last)-1]); err != nil {
			t.Error(err)
		}
	})
}
