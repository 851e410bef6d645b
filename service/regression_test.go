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

// Each test here is a defect that there was, in the smallest form that shows it.

// told checks what a follower was told against the truth, after all has settled.
func told(t *testing.T, log *memLog, f *follower) {
	t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if err := log.verify(f, log.lastLocked()); err != nil {
		t.Errorf("%s: %v\ntold%s", f.name, err, tell(f.told))
	}
}

func mustFollow(t *testing.T, node *service.Node, name string, rooms []streams.Room, start replay.Start) *follower {
	t.Helper()
	f, err := follow(node, name, rooms, start)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The first look at a room may see further than the pump has come: its hot tail and
// that of another room are then not of one moment, and a connection of both that
// went live after the first lost what the pump still had of the second.
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
		log.beforeEdges = func() {
			log.set(func() { log.slow = true })
			log.publish("a", 1)
			log.publish("b", 1)
		}
		f := mustFollow(t, node, "f", []streams.Room{"a", "b"}, replay.After(replay.CursorAt(mark)))
		defer f.cut()
		synctest.Wait()
		log.flow()
		told(t, log, f)
	})
}

// A look from before the log went back, and a hot tail that had begun anew since:
// filled with what the look allowed, it hid the loss from all who came back.
func TestHotTailDoesNotReachBehindALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		log.publish("a", 8) // 2 to 9
		node := service.New(log, nil)
		defer node.Close()
		warm := mustFollow(t, node, "warm", []streams.Room{"a"}, cursorAt(9))
		defer warm.cut()
		synctest.Wait()
		log.onEdges = func() {
			log.loseEnd(4)
			log.publish("a", 1) // which shows the loss to the pump
			synctest.Wait()
		}
		for _, name := range []string{"first", "second"} {
			f := mustFollow(t, node, name, []streams.Room{"a"}, cursorAt(3))
			defer f.cut()
			told(t, log, f)
		}
	})
}

// The queue overflowed between two looks at whether a subscription is live, and
// Next came back empty without anybody left to notify. The moment is short, and
// can't be made longer from outside: of runs on the old code, some find it.
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

// firstBatches takes what a new subscription has until it is live, or can't be.
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

// Events of an ephemeral room that come faster than the log answers kept its
// followers from ever going live, and had them ask the log without end.
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
			log.set(func() { log.onEdges = busy })
		}
		busy()
		f := mustFollow(t, node, "f", []streams.Room{"e"}, replay.Now())
		defer f.cut()
		time.Sleep(time.Second)
		synctest.Wait()
		log.set(func() {
			log.onEdges = nil
			if f.lives != 1 || log.looks > 3 {
				t.Errorf("live %d times after %d looks at the log", f.lives, log.looks)
			}
		})
	})
}

// The feed broke before it had confirmed a room: whoever waited for that waited on.
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

// A loss that one room's event shows is told to all rooms before anything later: a
// cursor that had gone past the floor would hide it from whoever left then.
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
		last := f.told[len(f.told)-1]
		if len(f.told) != 7 || last.Event == nil {
			t.Errorf("told%s, want four events, two notices, and then the event", tell(f.told))
		}
	})
}

// The newest few of several rooms begin in several places: the hot tails, which
// know of one cursor only, gave all that came after the earliest.
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

// The page of the newest did not say what was missing within it, or instead of it.
func TestHistoryOfTheNewestTellsOfLoss(t *testing.T) {
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

// When the one read that all who came back waited for failed, each read for
// itself: a log that was slow was asked by everybody at once.
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
		back := map[int]*follower{}
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
			if failed.Load() != 3 || log.reads != 1 {
				t.Errorf("%d clients failed and %d reads went well, want the 3 that tried and 1", failed.Load(), log.reads)
			}
		})
	})
}

// A notice for a room whose connection has gone past it, and must now read the log
// for what did not fit the queue: taking turns, the log's event came before the
// notice of what is missing before it.
func TestNoticeComesBeforeWhatFollowsIt(t *testing.T) {
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
		log.publish("e", 1) // past the floor, and shows nothing
		synctest.Wait()
		if items := next(); len(items) != 1 {
			t.Fatalf("told%s, want the ephemeral event", tell(items))
		}
		log.publish("a", 1) // shows the loss, and is too much for the queue with the notices
		synctest.Wait()
		noticed := false
		for range 4 {
			for _, it := range next() {
				if it.Gap != nil && it.Gap.Room == "a" {
					noticed = true
				} else if it.Event != nil && !noticed {
					t.Errorf("event %d before the notice of what is missing before it", seq(it.Event.ID))
				}
			}
		}
		if !noticed {
			t.Error("no notice")
		}
	})
}

// A room's tail record is forgotten while its newest event is still on its way: the
// record's absence proves nothing, and must not vouch for what has not come.
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

// The newest events of a room are lost: a page that ends with older ones says so,
// and one of before the loss does not.
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

// A replay of two rooms goes over from the log to memory in the middle of a hole of
// one of them, which the log has trimmed and memory holds: what lies before the place
// where it goes over was in neither, and the notice of it was still to come.
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
