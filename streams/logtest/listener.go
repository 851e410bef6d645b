package logtest

import (
	"slices"
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// A listener reads a feed as fast as it can, and keeps all it said.
type listener struct {
	suite *suite
	feed  streams.Feed
	done  chan struct{} // closed when Signals is

	mu      sync.Mutex // guards signals
	signals []streams.FeedMessage
}

// listen opens a feed of partition 0 of log, until the test ends.
func (s *suite) listen(log streams.Log) *listener {
	l := &listener{suite: s, feed: log.Feed(0), done: make(chan struct{})}
	go l.read()
	s.Cleanup(l.close)
	return l
}

func (l *listener) read() {
	defer close(l.done)
	for sig := range l.feed.Messages() {
		l.mu.Lock()
		l.signals = append(l.signals, sig)
		l.mu.Unlock()
	}
}

// close ends the feed, and returns after its reader has seen that.
func (l *listener) close() {
	l.feed.Close()
	<-l.done
}

// heard returns what the feed has said so far.
func (l *listener) heard() []streams.FeedMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.signals)
}

// join joins room and waits until that is announced.
func (l *listener) join(room streams.Room, ticket uint64) {
	l.suite.Helper()
	l.feed.Join(room, ticket)
	l.announced(room, ticket)
}

func (l *listener) announced(room streams.Room, ticket uint64) {
	l.suite.Helper()
	l.suite.eventually("room "+string(room)+" is announced", func() bool {
		return slices.ContainsFunc(l.heard(), func(sig streams.FeedMessage) bool {
			return sig.Joined == room && sig.Ticket == ticket
		})
	})
}

// live returns the events heard so far.
func (l *listener) live() []*streams.Event {
	var events []*streams.Event
	for _, sig := range l.heard() {
		if sig.Event != nil {
			events = append(events, sig.Event)
		}
	}
	return events
}

// events waits for n events and returns all heard.
func (l *listener) events(n int) []*streams.Event {
	l.suite.Helper()
	var events []*streams.Event
	l.suite.eventually("all events are live", func() bool {
		events = l.live()
		return len(events) >= n
	})
	return events
}

// through waits until the event id is live and returns all heard by then. As
// events come in order, all before it have come, or never will.
func (l *listener) through(id streams.ID) []*streams.Event {
	l.suite.Helper()
	var events []*streams.Event
	l.suite.eventually("event "+id.String()+" is live", func() bool {
		events = l.live()
		return slices.ContainsFunc(events, func(e *streams.Event) bool { return e.ID == id })
	})
	return events
}
