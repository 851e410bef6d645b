package redislog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark/tidemark/internal/backoff"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/internal/backlog"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

const (
	// maxMessages bounds the messages that a feed holds for its reader, and maxMessageBytes
	// their data. When the reader is that far behind, the feed stops reading. Later messages
	// wait in the sockets and then in Redis, which disconnects a subscriber with too many.
	// The reader then gets Lost.
	maxMessages     = 1024
	maxMessageBytes = 4 << 20

	// Delays between attempts to connect.
	firstDelay = 50 * time.Millisecond
	maxDelay   = 2 * time.Second
)

// feed is a streams.Feed. It runs one session after the other, each on its own connection.
type feed struct {
	// Fixed by newFeed.
	store    *store
	p        *partition
	messages chan streams.FeedMessage
	onClose  func(*feed)
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc
	running  sync.WaitGroup // the run goroutine
	wake     chan struct{}  // holds one token while changed is not empty

	unread *backlog.Backlog // of messages; owned by run

	mu        sync.Mutex                // guards the fields below
	want      map[streams.Room]uint64   // ticket of each joined room
	connected bool                      // a session will look at changed
	changed   map[streams.Room]struct{} // rooms joined or left since the session last looked
}

var _ streams.Feed = (*feed)(nil)

// newFeed returns a feed. The caller must start run.
func newFeed(s *store, p *partition, onClose func(*feed)) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	return &feed{
		store: s, p: p, onClose: onClose, ctx: ctx, cancel: cancel,
		messages: make(chan streams.FeedMessage, maxMessages),
		unread:   backlog.New(maxMessages),
		wake:     make(chan struct{}, 1),
		want:     map[streams.Room]uint64{},
		changed:  map[streams.Room]struct{}{},
	}
}

// Messages implements streams.Feed.
func (f *feed) Messages() <-chan streams.FeedMessage { return f.messages }

// Join implements streams.Feed.
func (f *feed) Join(room streams.Room, ticket uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want[room] = ticket
	f.changeLocked(room)
}

// Leave implements streams.Feed.
func (f *feed) Leave(room streams.Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, joined := f.want[room]; joined {
		delete(f.want, room)
		f.changeLocked(room)
	}
}

// changeLocked tells the session that the room has changed. Without a session it does
// nothing, because the next one starts with all joined rooms. The caller must hold f.mu.
func (f *feed) changeLocked(room streams.Room) {
	if !f.connected {
		return
	}
	f.changed[room] = struct{}{}
	select {
	case f.wake <- struct{}{}:
	default: // a token is there already
	}
}

// Close implements streams.Feed. It may be called again.
func (f *feed) Close() {
	f.cancel()
	f.running.Wait()
	f.onClose(f)
}

// run runs one session after the other until Close.
func (f *feed) run() {
	defer close(f.messages)
	retry := backoff.Backoff{First: firstDelay, Max: maxDelay}
	for f.ctx.Err() == nil {
		connected, err := f.runSession()
		if f.ctx.Err() != nil {
			return
		}
		f.store.reloadSlots(f.ctx, err)
		if connected {
			retry.Reset()
			f.store.opt.Logger.Warn("live feed lost; reconnecting", "partition", f.p.ID, "error", err)
			if !f.send(f.ctx, streams.FeedMessage{Lost: true}) {
				return
			}
		} else {
			f.store.opt.Logger.Log(f.ctx, connectLevel(err), "live feed cannot connect; retrying", "partition", f.p.ID, "error", err)
		}
		_ = retry.Wait(f.ctx) // the loop checks ctx
	}
}

// connectLevel returns the log level of a feed that cannot connect. Other messages report
// an unreachable Redis, but no other one reports that the user may no longer subscribe.
func connectLevel(err error) slog.Level {
	if rediserr.Permanent(err) {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// send waits until m fits behind the unread messages. It returns false if ctx ends first. Only
// the run goroutine calls it.
func (f *feed) send(ctx context.Context, m streams.FeedMessage) bool {
	size := 0
	if m.Event != nil {
		size = len(m.Event.Data)
	}
	if !f.fits(size) && !f.waitToFit(ctx, size) {
		return false
	}
	select {
	case f.messages <- m:
		f.unread.Add(size)
		return true
	case <-ctx.Done():
		return false
	}
}

// fits reports whether data of that size fits behind the unread messages. A larger event than
// maxMessageBytes fits if the reader has taken all others.
func (f *feed) fits(size int) bool {
	unread := f.unread.Bytes(len(f.messages))
	return unread == 0 || unread+size <= maxMessageBytes
}

// waitToFit waits until data of that size fits. It returns false if ctx ends first.
func (f *feed) waitToFit(ctx context.Context, size int) bool {
	poll := time.NewTicker(backlog.Poll)
	defer poll.Stop()
	for !f.fits(size) {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// beginSession marks every joined room as changed, for a new session.
func (f *feed) beginSession() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected = true
	for room := range f.want {
		f.changeLocked(room)
	}
}

// endSession forgets the changes that the session has not taken. Clients may join and leave
// any number of rooms until the next session begins.
func (f *feed) endSession() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.connected = false
	f.changed = map[streams.Room]struct{}{}
}

// A change is the state of a room that the reader wants now.
type change struct {
	room   streams.Room
	joined bool
	ticket uint64
}

// takeChanges returns the changes since the last call.
func (f *feed) takeChanges() []change {
	f.mu.Lock()
	defer f.mu.Unlock()
	changes := make([]change, 0, len(f.changed))
	for room := range f.changed {
		ticket, joined := f.want[room]
		changes = append(changes, change{room, joined, ticket})
	}
	clear(f.changed)
	return changes
}
