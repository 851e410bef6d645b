package logtest

import (
	"slices"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// A recorder reads a feed without delay and records its messages.
type recorder struct {
	t    *test
	feed streams.Feed
	done chan struct{} // closed after the feed has ended

	mu       sync.Mutex // guards messages
	messages []streams.FeedMessage
}

// record opens a feed of log's partition 0 and records it until the test ends.
func (t *test) record(log streams.Log) *recorder {
	r := &recorder{t: t, feed: log.Feed(0), done: make(chan struct{})}
	go r.read()
	t.Cleanup(r.close)
	return r
}

func (r *recorder) read() {
	defer close(r.done)
	for m := range r.feed.Messages() {
		r.mu.Lock()
		r.messages = append(r.messages, m)
		r.mu.Unlock()
	}
}

// close closes the feed and waits until its messages have ended.
func (r *recorder) close() {
	r.feed.Close()
	<-r.done
}

// recorded returns a copy of the messages so far.
func (r *recorder) recorded() []streams.FeedMessage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// join joins room and waits for its announcement.
func (r *recorder) join(room streams.Room, ticket uint64) {
	r.t.Helper()
	r.feed.Join(room, ticket)
	r.announced(room, ticket)
}

// announced waits until room is announced with this ticket.
func (r *recorder) announced(room streams.Room, ticket uint64) {
	r.t.Helper()
	r.t.eventually("room "+string(room)+" is announced", func() bool {
		return slices.ContainsFunc(r.recorded(), func(m streams.FeedMessage) bool {
			return m.Joined == room && m.Ticket == ticket
		})
	})
}

// live returns the events so far.
func (r *recorder) live() []*streams.Event {
	var events []*streams.Event
	for _, m := range r.recorded() {
		if m.Event != nil {
			events = append(events, m.Event)
		}
	}
	return events
}

// events waits for n events and returns all events so far.
func (r *recorder) events(n int) []*streams.Event {
	r.t.Helper()
	var events []*streams.Event
	r.t.eventually("all events are live", func() bool {
		events = r.live()
		return len(events) >= n
	})
	return events
}

// through waits until the event id is live and returns all events so far. Because events
// arrive in order, an event before id that has not arrived by then never arrives.
func (r *recorder) through(id streams.ID) []*streams.Event {
	r.t.Helper()
	var events []*streams.Event
	r.t.eventually("event "+id.String()+" is live", func() bool {
		events = r.live()
		return slices.ContainsFunc(events, func(e *streams.Event) bool { return e.ID == id })
	})
	return events
}
