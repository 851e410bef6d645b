package logtest

import (
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A feedReader follows one room as a node does: after each announcement it reads the log
// to its end, and then takes events from the feed.
type feedReader struct {
	t    *test
	feed streams.Feed
	room streams.Room

	joined bool // announced, and not lost since
	losses int
	last   streams.ID
	ids    []streams.ID // of all events, in the order of their arrival
}

func newFeedReader(t *test, feed streams.Feed, room streams.Room) *feedReader {
	return &feedReader{t: t, feed: feed, room: room}
}

// until reads the feed until cond holds.
func (r *feedReader) until(cond func() bool) {
	r.t.Helper()
	deadline := time.After(waitLimit)
	for !cond() {
		select {
		case m, open := <-r.feed.Messages():
			if !open {
				r.t.Fatal("the feed has ended")
			}
			r.take(m)
		case <-deadline:
			r.t.Fatalf("not within %s; have %d events, joined %v, lost %d times",
				waitLimit, len(r.ids), r.joined, r.losses)
		}
	}
}

func (r *feedReader) take(m streams.FeedMessage) {
	r.t.Helper()
	switch {
	case m.Lost:
		r.joined = false
		r.losses++
	case m.Joined == r.room:
		r.joined = true
		r.catchUp()
	case m.Event != nil && m.Event.Room == r.room && r.joined && r.last.Before(m.Event.ID):
		if len(r.ids) > 0 && m.Event.Prev != r.last {
			r.t.Errorf("a silent hole: live event %s follows %s, and the reader has %s",
				m.Event.ID, m.Event.Prev, r.last)
		}
		r.add(m.Event)
	}
}

// catchUp reads the log from the reader's position to its end.
func (r *feedReader) catchUp() {
	r.t.Helper()
	for {
		page := r.t.after(r.room, r.last, end(), 1000)
		for _, e := range page {
			r.add(e)
		}
		if len(page) < 1000 {
			return
		}
	}
}

func (r *feedReader) add(e *streams.Event) {
	r.last = e.ID
	r.ids = append(r.ids, e.ID)
}
