package logtest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// An announcement carries the ticket of its Join; joining again announces again.
func testFeedTicket(s *suite) {
	feed := s.listen(s.Log)
	a, b := s.room("a"), s.room("b")
	feed.join(a, 7)
	feed.join(b, 1<<63)
	feed.join(a, 9)
	feed.feed.Leave(b)
	feed.join(b, 3)

	id := s.append(draft(a, 1))[0]
	s.sameIDs("live", []streams.ID{id}, idsOf(feed.through(id)))
}

// Everything appended after the announcement arrives, in the order of ids over
// all rooms, and nothing of rooms that were never joined.
func testFeedOrder(s *suite) {
	const appenders, each = 6, 100
	rooms := s.rooms("joined", 5)
	strangers := s.rooms("stranger", 2)
	feed := s.listen(s.Log)
	for i, room := range rooms {
		feed.join(room, uint64(i+1))
	}

	var mu sync.Mutex // guards want
	var want []streams.ID
	var running sync.WaitGroup
	for a := range appenders {
		running.Go(func() {
			for i := range each {
				ids := s.append(draft(rooms[(a+i)%len(rooms)], i), draft(strangers[i%2], i))
				mu.Lock()
				want = append(want, ids[0])
				mu.Unlock()
			}
		})
	}
	running.Wait()
	want = sorted(want)
	s.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// A node follows as many rooms as its clients ask for.
func testFeedManyRooms(s *suite) {
	const n = 2000
	rooms := s.rooms("many", n)
	feed := s.listen(s.Log)
	for i, room := range rooms {
		feed.feed.Join(room, uint64(i+1))
	}
	s.eventually("every room is announced", func() bool {
		announced := map[streams.Room]uint64{}
		for _, sig := range feed.heard() {
			announced[sig.Joined] = sig.Ticket
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
	want := s.append(batch...)
	s.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// However quickly a room is joined and left, from however many goroutines, the
// last Join wins and its events come once.
func testFeedChurn(s *suite) {
	const rounds = 200
	feed := s.listen(s.Log)
	rooms := s.rooms("churn", 4)
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
		want = append(want, s.append(draft(room, 1))...)
	}
	s.sameIDs("live", want, idsOf(feed.through(want[len(want)-1])))
}

// A reader that joins while others append, reads the log at the announcement
// and takes the feed from there, has everything once.
func testFeedJoinRace(s *suite) {
	const rounds, each = 20, 20
	feed := s.Log.Feed(0)
	defer feed.Close()
	for round := range rounds {
		room := s.room(fmt.Sprintf("race-%d", round))
		var want []streams.ID
		var appending sync.WaitGroup
		appending.Go(func() {
			for i := range each {
				want = append(want, s.append(draft(room, i))...)
			}
		})
		feed.Join(room, uint64(round+1))
		f := newFollower(s, feed, room)
		f.until(func() bool { return len(f.got) >= each })
		appending.Wait()
		s.sameIDs("followed", want, f.got)
		feed.Leave(room)
	}
}

// After Leave the events of the room stop. Some may still come: Leave does not
// wait. So the promise is that there is a moment after which none comes.
func testFeedLeave(s *suite) {
	left, stays := s.room("left"), s.room("stays")
	feed := s.listen(s.Log)
	feed.join(left, 1)
	feed.join(stays, 2)
	feed.feed.Leave(left)
	s.eventually("the room that was left is quiet", func() bool {
		ids := s.append(draft(left, 1), draft(stays, 1))
		return !slices.Contains(idsOf(feed.through(ids[1])), ids[0])
	})
	feed.feed.Leave(s.room("never-joined"))
}

// A reader that does not read gets no silent hole: it is told Lost, and each
// room is announced again, so that feed and log together give everything once.
func testFeedSlow(s *suite) {
	const batch = 500
	room := s.room("slow")
	feed := s.Log.Feed(0)
	defer feed.Close()
	feed.Join(room, 5)
	f := newFollower(s, feed, room)
	f.until(func() bool { return f.joined })

	var want []streams.ID
	for n := 4*cap(feed.Messages()) + 10_000; n > 0; n -= batch {
		want = append(want, s.append(drafts(room, batch)...)...)
	}
	f.until(func() bool { return len(f.got) >= len(want) })
	want = append(want, s.append(draft(room, 1))...)
	f.until(func() bool { return len(f.got) >= len(want) })
	s.sameIDs("followed", want, f.got)
	s.Logf("%d events unread: Lost %d times", len(want), f.losses)
}

// A follower is what the reader of a feed has to be, in small: it reads the log
// at each announcement of its room and takes the feed from there.
type follower struct {
	suite *suite
	feed  streams.Feed
	room  streams.Room

	joined bool // announced, and not lost since
	losses int
	last   streams.ID
	got    []streams.ID
}

func newFollower(s *suite, feed streams.Feed, room streams.Room) *follower {
	return &follower{suite: s, feed: feed, room: room}
}

// until follows the feed until cond holds.
func (f *follower) until(cond func() bool) {
	f.suite.Helper()
	deadline := time.After(patience)
	for !cond() {
		select {
		case sig, open := <-f.feed.Messages():
			if !open {
				f.suite.Fatal("Signals is closed")
			}
			f.take(sig)
		case <-deadline:
			f.suite.Fatalf("not within %s; have %d events, joined %v, lost %d times",
				patience, len(f.got), f.joined, f.losses)
		}
	}
}

func (f *follower) take(sig streams.FeedMessage) {
	f.suite.Helper()
	switch {
	case sig.Lost:
		f.joined = false
		f.losses++
	case sig.Joined == f.room:
		f.joined = true
		f.catchUp()
	case sig.Event != nil && sig.Event.Room == f.room && f.joined && f.last.Before(sig.Event.ID):
		if len(f.got) > 0 && sig.Event.Prev != f.last {
			f.suite.Errorf("a silent hole: live event %s follows %s, and the reader has %s",
				sig.Event.ID, sig.Event.Prev, f.last)
		}
		f.add(sig.Event)
	}
}

// catchUp reads the log from where the follower stands to its end.
func (f *follower) catchUp() {
	f.suite.Helper()
	for {
		page := f.suite.after(f.room, f.last, end(), 1000)
		for _, e := range page {
			f.add(e)
		}
		if len(page) < 1000 {
			return
		}
	}
}

func (f *follower) add(e *streams.Event) {
	f.last = e.ID
	f.got = append(f.got, e.ID)
}

// Each feed has its own rooms, and closing one leaves the others alone.
func testFeedsIndependent(s *suite) {
	a, b := s.room("a"), s.room("b")
	first, second := s.listen(s.Log), s.listen(s.Log)
	first.join(a, 1)
	second.join(a, 1)
	second.join(b, 2)

	ids := s.append(draft(a, 1), draft(b, 1))
	s.sameIDs("second feed", ids, idsOf(second.through(ids[1])))
	first.through(ids[0])
	first.close()
	first.feed.Join(b, 3) // of no effect, and no harm
	first.feed.Leave(a)
	s.sameIDs("first feed", ids[:1], idsOf(first.live()))

	ids = append(ids, s.append(draft(a, 2), draft(b, 2))...)
	s.sameIDs("second feed", ids, idsOf(second.through(ids[3])))
}

// Whoever hears of an event finds it in the log at once.
func testLiveAfterLogged(s *suite) {
	const n = 200
	room := s.room("logged")
	feed := s.Log.Feed(0)
	defer feed.Close()
	feed.Join(room, 1)

	var appending sync.WaitGroup
	defer appending.Wait()
	deadline := time.After(patience)
	for heard := 0; heard < n; {
		select {
		case sig := <-feed.Messages():
			switch {
			case sig.Joined == room:
				appending.Go(func() {
					for i := range n {
						s.append(draft(room, i))
					}
				})
			case sig.Event != nil:
				heard++
				id := sig.Event.ID
				if got := s.after(room, before(id), id, 1); len(got) != 1 || got[0].ID != id {
					s.Fatalf("event %s is live and cannot be read", id)
				}
				if last := s.edges().Last; last.Before(id) {
					s.Fatalf("event %s is live and Last is %s", id, last)
				}
			}
		case <-deadline:
			s.Fatalf("%d of %d events live within %s", heard, n, patience)
		}
	}
}
