package embedded

import (
	"sync"

	"github.com/tidemark/tidemark/streams"
)

// maxSignals bounds what waits for the reader of a feed: at 40 bytes each, and
// the events themselves, which are shared.
const maxSignals = 4096

// A hub hands the writer's events to all feeds.
type hub struct {
	mu     sync.Mutex // guards the fields below; taken before a feed's own
	feeds  map[*feed]struct{}
	closed bool
}

func newHub() *hub { return &hub{feeds: map[*feed]struct{}{}} }

// open starts a feed, which is closed already if the hub is.
func (h *hub) open() *feed {
	f := &feed{
		hub:     h,
		signals: make(chan streams.FeedMessage, maxSignals),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		rooms:   map[streams.Room]uint64{},
		pending: map[streams.Room]struct{}{},
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

// publish offers events, in the order of ids, to each feed. It does not wait for
// any reader. Only the writer calls it.
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

// close closes all feeds, and those opened later.
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

// A feed has two senders: the writer, which never waits and gives up at the
// first event that finds no room, and announce, which waits for its reader and
// says what the reader must know: rooms joined, and that events were lost.
type feed struct {
	// Fixed by hub.open.
	hub     *hub
	signals chan streams.FeedMessage
	wake    chan struct{} // has room for one: there may be something to announce
	done    chan struct{} // closed by Close
	running sync.WaitGroup
	closing sync.Once

	mu      sync.Mutex              // guards the fields below
	rooms   map[streams.Room]uint64 // joined, with the last ticket
	pending map[streams.Room]struct{}
	lost    bool // an event found no room; the reader has not been told yet
	closed  bool
}

var _ streams.Feed = (*feed)(nil)

// Join implements streams.Feed. Events flow from here on, and the reader ignores
// them until the announcement has come.
func (f *feed) Join(room streams.Room, ticket uint64) {
	f.mu.Lock()
	f.rooms[room] = ticket
	f.pending[room] = struct{}{}
	f.mu.Unlock()
	f.rouse()
}

// Leave implements streams.Feed.
func (f *feed) Leave(room streams.Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rooms, room)
	delete(f.pending, room)
}

// Messages implements streams.Feed.
func (f *feed) Messages() <-chan streams.FeedMessage { return f.signals }

// Close implements streams.Feed.
func (f *feed) Close() {
	f.closing.Do(func() {
		f.hub.remove(f)
		f.mu.Lock()
		f.closed = true // the writer sends nothing more
		f.mu.Unlock()
		close(f.done)
		f.running.Wait()
		close(f.signals)
	})
}

// offer sends the events of joined rooms as far as there is room for them.
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
		select {
		case f.signals <- streams.FeedMessage{Event: e}:
		default:
			f.lost = true
			f.rouse()
		}
	}
}

func (f *feed) rouse() {
	select {
	case f.wake <- struct{}{}:
	default: // it is awake, and will look again
	}
}

// announce tells the reader what it must know, for as long as the feed is open.
func (f *feed) announce() {
	for {
		sig, some := f.next()
		if !some {
			select {
			case <-f.wake:
				continue
			case <-f.done:
				return
			}
		}
		select {
		case f.signals <- sig:
		case <-f.done:
			return
		}
		if sig.Lost {
			f.resume()
		}
	}
}

// next returns what to announce now. Lost goes first: until the reader knows
// that it has missed something, a room must not look joined.
func (f *feed) next() (sig streams.FeedMessage, some bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost {
		return streams.FeedMessage{Lost: true}, true
	}
	for room := range f.pending {
		delete(f.pending, room)
		return streams.FeedMessage{Joined: room, Ticket: f.rooms[room]}, true
	}
	return streams.FeedMessage{}, false
}

// resume lets events flow again after the reader was told Lost, and announces
// every room anew.
func (f *feed) resume() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = false
	for room := range f.rooms {
		f.pending[room] = struct{}{}
	}
}
