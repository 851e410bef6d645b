package embedded

import (
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/internal/backlog"
)

const (
	// maxMessages bounds the messages that wait for the reader of a feed, at 40 bytes each,
	// and maxMessageBytes their data. The events are shared between feeds.
	maxMessages     = 4096
	maxMessageBytes = 16 << 20
)

// A hub distributes the writer's events to all feeds.
type hub struct {
	mu     sync.Mutex // guards the fields below; locked before a feed's mutex
	feeds  map[*feed]struct{}
	closed bool
}

func newHub() *hub { return &hub{feeds: map[*feed]struct{}{}} }

// open returns a new feed. If the hub is closed, so is the feed.
func (h *hub) open() *feed {
	f := &feed{
		hub:      h,
		messages: make(chan streams.FeedMessage, maxMessages),
		unread:   backlog.New(maxMessages),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		rooms:    map[streams.Room]uint64{},
		pending:  map[streams.Room]struct{}{},
	}
	f.running.Go(f.announce)
	h.mu.Lock()
	closed := h.closed
	if !closed {
		h.feeds[f] = struct{}{}
	}
	h.mu.Unlock()
	if closed {
		f.Close()
	}
	return f
}

// publish offers events, in the order of their ids, to each feed. It never waits for a
// reader. Only the writer calls it.
func (h *hub) publish(events []*streams.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.feeds {
		f.offer(events)
	}
}

func (h *hub) remove(f *feed) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.feeds, f)
}

// close closes all feeds. A feed that is opened later is closed at once.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	feeds := h.feeds
	h.feeds = nil
	h.mu.Unlock()
	for f := range feeds {
		f.Close()
	}
}

// A feed has two senders. The writer sends events and never waits: the first event that
// does not fit into the channel marks the feed as lost. The announce goroutine waits for
// the reader. It sends Joined and Lost messages.
type feed struct {
	// Fixed by hub.open.
	hub      *hub
	messages chan streams.FeedMessage
	wake     chan struct{} // buffered for one: lost or pending has changed
	done     chan struct{} // closed by Close
	running  sync.WaitGroup
	closing  sync.Once

	mu      sync.Mutex                // guards the fields below
	unread  *backlog.Backlog          // of messages; wrong by one message while announce sends
	rooms   map[streams.Room]uint64   // joined rooms with their last tickets
	pending map[streams.Room]struct{} // rooms to announce
	lost    bool                      // an event did not fit; Lost has not been sent yet
	closed  bool
}

var _ streams.Feed = (*feed)(nil)

// Join implements streams.Feed. Events of the room are sent at once. The reader ignores
// them until it receives the announcement.
func (f *feed) Join(room streams.Room, ticket uint64) {
	f.mu.Lock()
	f.rooms[room] = ticket
	f.pending[room] = struct{}{}
	f.mu.Unlock()
	f.wakeUp()
}

// Leave implements streams.Feed.
func (f *feed) Leave(room streams.Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rooms, room)
	delete(f.pending, room)
}

// Messages implements streams.Feed.
func (f *feed) Messages() <-chan streams.FeedMessage { return f.messages }

// Close implements streams.Feed.
func (f *feed) Close() {
	f.closing.Do(func() {
		f.hub.remove(f)
		f.mu.Lock()
		f.closed = true // stops the writer from sending
		f.mu.Unlock()
		close(f.done)
		f.running.Wait()
		close(f.messages)
	})
}

// offer sends the events of joined rooms until the first one that does not fit.
func (f *feed) offer(events []*streams.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range events {
		if f.closed || f.lost {
			return
		}
		if _, joined := f.rooms[e.Room]; !joined {
			continue
		}
		if !f.trySendLocked(e) {
			f.lost = true
			f.wakeUp()
		}
	}
}

// trySendLocked sends e if it fits behind the unread messages. A larger event than
// maxMessageBytes fits if the reader has taken all others. The caller must hold f.mu.
func (f *feed) trySendLocked(e *streams.Event) bool {
	unread := f.unread.Bytes(len(f.messages))
	if unread > 0 && unread+len(e.Data) > maxMessageBytes {
		return false
	}
	select {
	case f.messages <- streams.FeedMessage{Event: e}:
		f.unread.Add(len(e.Data))
		return true
	default:
		return false
	}
}

func (f *feed) wakeUp() {
	select {
	case f.wake <- struct{}{}:
	default: // already woken
	}
}

// announce sends Joined and Lost messages until the feed is closed.
func (f *feed) announce() {
	for {
		m, ok := f.next()
		if !ok {
			select {
			case <-f.wake:
				continue
			case <-f.done:
				return
			}
		}
		if m.Lost && !f.waitForReader() {
			return
		}
		select {
		case f.messages <- m:
		case <-f.done:
			return
		}
		if m.Lost {
			f.resume()
		}
	}
}

// waitForReader waits until the reader has taken half of the bytes. Otherwise events would be
// lost again as soon as they flow. It returns false if the feed is closed first.
func (f *feed) waitForReader() bool {
	behind := func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.unread.Bytes(len(f.messages)) > maxMessageBytes/2
	}
	if !behind() {
		return true
	}
	poll := time.NewTicker(backlog.Poll)
	defer poll.Stop()
	for behind() {
		select {
		case <-poll.C:
		case <-f.done:
			return false
		}
	}
	return true
}

// next returns the next message to send, if one is due. Lost comes first: until the
// reader knows about the loss, it must not see a room as joined.
func (f *feed) next() (m streams.FeedMessage, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost {
		f.unread.Add(0)
		return streams.FeedMessage{Lost: true}, true
	}
	for room := range f.pending {
		delete(f.pending, room)
		f.unread.Add(0)
		return streams.FeedMessage{Joined: room, Ticket: f.rooms[room]}, true
	}
	return streams.FeedMessage{}, false
}

// resume lets events flow again after Lost was sent, and announces each room again.
func (f *feed) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = false
	for room := range f.rooms {
		f.pending[room] = struct{}{}
	}
}
