package logtest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// The announcement of a room carries the ticket of its Join, and each Join gets one.
func testFeedTicket(t *test) {
	feed := t.record(t.Log)
	a, b := t.room("a"), t.room("b")
	feed.join(a, 7)
	feed.join(b, 1<<63)
	feed.join(a, 9)
	feed.feed.Leave(b)
	feed.join(b, 3)

	id := t.append(draft(a, 1))[0]
	t.sameIDs("live", []streams.ID{id}, idsOf(feed.through(id)))
}

// After the announcement of a room all its events arrive, in the order of ids over all
// rooms. Events of rooms that were not joined do not arrive.
func testFeedOrder(t *test) {
	const appenders, each = 6, 100
	rooms := t.rooms("joined", 5)
	strangers := t.rooms("stranger", 2)
	feed := t.record(t.Log)
	for i, room := range rooms {
		feed.join(room, uint64(i+1))
	}

	var mu sync.Mutex // guards want
	var want []streams.ID
	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				ids := t.append(draft(rooms[(a+i)%len(rooms)], i), draft(strangers[i%2], i))
				mu.Lock()
				want = append(want, ids[0])
				mu.Unlock()
			}
		})
	}
	running.Wait()
	want = sorted(want)
	t.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// A feed can join thousands of rooms.
func testFeedManyRooms(t *test) {
	const n = 2000
	rooms := t.rooms("many", n)
	feed := t.record(t.Log)
	for i, room := range rooms {
		feed.feed.Join(room, uint64(i+1))
	}
	t.eventually("every room is announced", func() bool {
		announced := map[streams.Room]uint64{}
		for _, m := range feed.recorded() {
			announced[m.Joined] = m.Ticket
		}
		for i, room := range rooms {
			if announced[room] != uint64(i+1) {
				return false
			}
		}
		return true
	})
	var batch []streams.Draft
	for i := 0; i < n; i += 7 {
		batch = append(batch, draft(rooms[i], i))
	}
	want := t.append(batch...)
	t.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// When goroutines join and leave rooms quickly, the last Join of each room counts and its
// events arrive once.
func testFeedChurn(t *test) {
	const rounds = 200
	feed := t.record(t.Log)
	rooms := t.rooms("churn", 4)
	var running sync.WaitGroup
	for _, room := range rooms {
		running.Go(func() {
			for ticket := uint64(1); ticket < rounds; ticket++ {
				feed.feed.Join(room, ticket)
				feed.feed.Leave(room)
			}
			feed.feed.Join(room, rounds)
		})
	}
	running.Wait()
	var want []streams.ID
	for _, room := range rooms {
		feed.announced(room, rounds)
		want = append(want, t.append(draft(room, 1))...)
	}
	t.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// A reader that joins during appends, reads the log after the announcement and then
// follows the feed receives every event once.
func testFeedJoinRace(t *test) {
	const rounds, each = 20, 20
	feed := t.Log.Feed(0)
	defer feed.Close()
	for round := range rounds {
		room := t.room(fmt.Sprintf("race-%d", round))
		var want []streams.ID
		var appending sync.WaitGroup
		appending.Go(func() {
			for i := range each {
				want = append(want, t.append(draft(room, i))...)
			}
		})
		feed.Join(room, uint64(round+1))
		reader := newFeedReader(t, feed, room)
		reader.until(func() bool { return len(reader.ids) >= each })
		appending.Wait()
		t.sameIDs("followed", want, reader.ids)
		feed.Leave(room)
	}
}

// After Leave the events of the room stop. Leave does not wait, so some may still arrive;
// the test requires that they stop in the end.
func testFeedLeave(t *test) {
	left, stays := t.room("left"), t.room("stays")
	feed := t.record(t.Log)
	feed.join(left, 1)
	feed.join(stays, 2)
	feed.feed.Leave(left)
	t.eventually("events of the left room stop", func() bool {
		ids := t.append(draft(left, 1), draft(stays, 1))
		return !slices.Contains(idsOf(feed.through(ids[1])), ids[0])
	})
	feed.feed.Leave(t.room("never-joined"))
}

// A reader that falls behind receives Lost, and then each room is announced again. Feed
// and log together then give every event once, without a silent hole.
func testFeedSlow(t *test) {
	const batch = 500
	room := t.room("slow")
	feed := t.Log.Feed(0)
	defer feed.Close()
	feed.Join(room, 5)
	reader := newFeedReader(t, feed, room)
	reader.until(func() bool { return reader.joined })

	var want []streams.ID
	for n := 4*cap(feed.Messages()) + 10_000; n > 0; n -= batch {
		want = append(want, t.append(drafts(room, batch)...)...)
	}
	reader.until(func() bool { return len(reader.ids) >= len(want) })
	want = append(want, t.append(draft(room, 1))...)
	reader.until(func() bool { return len(reader.ids) >= len(want) })
	t.sameIDs("followed", want, reader.ids)
	t.Logf("%d events unread: Lost %d times", len(want), reader.losses)
}

// Each feed has its own rooms, and closing one feed does not affect the others.
func testFeedsIndependent(t *test) {
	a, b := t.room("a"), t.room("b")
	first, second := t.record(t.Log), t.record(t.Log)
	first.join(a, 1)
	second.join(a, 1)
	second.join(b, 2)

	ids := t.append(draft(a, 1), draft(b, 1))
	t.sameIDs("second feed", ids, idsOf(second.through(ids[1])))
	first.through(ids[0])
	first.close()
	first.feed.Join(b, 3) // does nothing after Close
	first.feed.Leave(a)
	t.sameIDs("first feed", ids[:1], idsOf(first.live()))

	ids = append(ids, t.append(draft(a, 2), draft(b, 2))...)
	t.sameIDs("second feed", ids, idsOf(second.through(ids[3])))
}

// As soon as an event is live, it can be read from the log.
func testLiveAfterLogged(t *test) {
	const n = 200
	room := t.room("logged")
	feed := t.Log.Feed(0)
	defer feed.Close()
	feed.Join(room, 1)

	var appending sync.WaitGroup
	defer appending.Wait()
	deadline := time.After(waitLimit)
	for received := 0; received < n; {
		select {
		case m := <-feed.Messages():
			switch {
			case m.Joined == room:
				appending.Go(func() {
					for i := range n {
						t.append(draft(room, i))
					}
				})
			case m.Event != nil:
				received++
				id := m.Event.ID
				if got := t.after(room, previous(id), id, 1); len(got) != 1 || got[0].ID != id {
					t.Fatalf("event %s is live and cannot be read", id)
				}
				if last := t.watermarks().Last; last.Before(id) {
					t.Fatalf("event %s is live and Last is %s", id, last)
				}
			}
		case <-deadline:
			t.Fatalf("%d of %d events live within %s", received, n, waitLimit)
		}
	}
}
