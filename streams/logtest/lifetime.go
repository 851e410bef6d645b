package logtest

import (
	"context"
	"errors"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A restart changes nothing that a client or a publisher could notice.
func testRestart(s *suite) {
	if s.Reopen == nil {
		s.Skip("the harness cannot reopen its log")
	}
	room, expired := s.room("stays"), s.room("expired")
	ids := s.append(drafts(room, 50)...)
	once := keyed(room, 99, "k")
	ids = append(ids, s.append(once)...)
	short := draft(expired, 1)
	short.Retention.Age = 50 * time.Millisecond
	tail := s.append(short)[0]
	passing := draft(s.room("passing"), 1)
	passing.Retention.Events = 0
	last := s.append(passing)[0]
	edges := s.edges(room, expired)

	s.Log = s.Reopen()

	s.sameIDs("events", ids, idsOf(s.all(room)))
	if r := s.try(s.Log, once)[0]; r.Err != nil || !r.Replayed || r.ID != ids[len(ids)-1] {
		s.Errorf("a repeat after the restart: %+v, want a replay of %s", r, ids[len(ids)-1])
	}
	if r := s.try(s.Log, keyed(room, 100, "k"))[0]; !errors.Is(r.Err, streams.ErrKeyReused) {
		s.Errorf("the key with other data after the restart: %+v, want ErrKeyReused", r)
	}
	now := s.edges(room, expired)
	if now.Floor != edges.Floor || now.Tails[0] != edges.Tails[0] || now.Tails[1] != tail {
		s.Errorf("edges are %+v after the restart, were %+v", now, edges)
	}
	if now.Last.Before(last) {
		s.Errorf("Last is %s after the restart, was %s at least", now.Last, last)
	}

	feed := s.listen(s.Log)
	feed.join(room, 1)
	next := s.append(draft(room, 101), draft(expired, 2))
	if !last.Before(next[0]) {
		s.Errorf("id %s after the restart does not pass %s, handed out before", next[0], last)
	}
	s.sameIDs("events", append(ids, next[0]), idsOf(s.all(room)))
	s.chained("over the restart", s.all(room))
	s.sameIDs("live", next[:1], idsOf(feed.through(next[0])))
	s.eventually("the short event is gone", func() bool {
		events := s.all(expired)
		return len(events) == 1 && events[0].ID == next[1] || len(events) == 2 && events[0].ID == tail
	})
	if events := s.all(expired); events[len(events)-1].Prev != tail {
		s.Errorf("the expired room's next event has Prev %s, want %s", events[len(events)-1].Prev, tail)
	}
}

// Two nodes have one order, one memory of keys and one live feed.
func testNodes(s *suite) {
	if s.Second == nil {
		s.Skip("the store serves one process")
	}
	room := s.room("shared")
	feed := s.listen(s.Log)
	far := s.listen(s.Second)
	feed.join(room, 1)
	far.join(room, 1)

	var ids []streams.ID
	for i := range 50 {
		ids = append(ids, s.append(draft(room, i))...)
		ids = append(ids, s.appendTo(s.Second, draft(room, i))...)
	}
	once := keyed(room, 99, "k")
	ids = append(ids, s.append(once)...)
	if r := s.try(s.Second, once)[0]; r.Err != nil || !r.Replayed || r.ID != ids[len(ids)-1] {
		s.Errorf("a repeat on the other node: %+v, want a replay of %s", r, ids[len(ids)-1])
	}

	s.rising("ids of two nodes in turn", ids)
	s.sameIDs("logged", ids, idsOf(s.all(room)))
	s.chained("shared", s.all(room))
	s.sameIDs("live here", ids, idsOf(feed.through(ids[len(ids)-1])))
	s.sameIDs("live there", ids, idsOf(far.through(ids[len(ids)-1])))
}

// A call whose context is over returns, says so, and leaves the log in order.
func testCancelled(s *suite) {
	room := s.room("cancelled")
	ids := s.append(draft(room, 1))
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()

	if r := s.Log.Append(ctx, drafts(room, 2)); len(r) != 2 {
		s.Errorf("Append gave %d receipts, want 2", len(r))
	} else {
		for _, r := range r {
			if r.Err != nil && !errors.Is(r.Err, streams.ErrUnavailable) {
				s.Errorf("Append: %v, want ErrUnavailable", r.Err)
			}
		}
	}
	check := func(call string, err error) {
		if err != nil && !errors.Is(err, streams.ErrUnavailable) {
			s.Errorf("%s: %v, want ErrUnavailable", call, err)
		}
	}
	_, err := s.Log.After(ctx, room, streams.ID{}, end(), 10)
	check("After", err)
	_, err = s.Log.Before(ctx, room, end(), 10)
	check("Before", err)
	_, err = s.Log.Watermarks(ctx, 0, []streams.Room{room})
	check("Edges", err)

	ids = append(ids, s.append(draft(room, 3))...)
	events := s.all(room)
	s.chained("cancelled", events)
	if events[0].ID != ids[0] || events[len(events)-1].ID != ids[1] {
		s.Errorf("the room has %v, want it to start and end with %v", idsOf(events), ids)
	}
}

// After Close every call says ErrClosed, and every feed has ended.
func testClosed(s *suite) {
	room := s.room("closed")
	s.append(draft(room, 1))
	feed := s.listen(s.Log)
	feed.join(room, 1)
	if err := s.Log.Ping(s.ctx); err != nil {
		s.Errorf("Ping of an open log: %v", err)
	}
	if err := s.Log.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	select {
	case <-feed.done:
	case <-time.After(patience):
		s.Fatal("Close left a feed open")
	}

	want := func(call string, err error) {
		if !errors.Is(err, streams.ErrClosed) {
			s.Errorf("%s after Close: %v, want ErrClosed", call, err)
		}
	}
	for _, r := range s.try(s.Log, draft(room, 2), draft(room, 3)) {
		want("Append", r.Err)
	}
	_, err := s.Log.After(s.ctx, room, streams.ID{}, end(), 1)
	want("After", err)
	_, err = s.Log.Before(s.ctx, room, end(), 1)
	want("Before", err)
	_, err = s.Log.Watermarks(s.ctx, 0, nil)
	want("Edges", err)
	want("Ping", s.Log.Ping(s.ctx))
	late := s.listen(s.Log)
	late.feed.Join(room, 2)
	late.close()
}
