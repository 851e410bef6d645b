package redislog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxSignals bounds what a feed holds for its reader. When it is full the feed
	// stops reading: what follows waits in the sockets and then in Redis, which
	// cuts a subscriber that it holds too much for. The reader then sees Lost.
	maxSignals = 1024

	// Waits between attempts to connect, each from half of it up to all of it.
	firstWait = 50 * time.Millisecond
	maxWait   = 2 * time.Second
)

// feed is a streams.Feed: one connection after the other, each a session.
type feed struct {
	// Fixed by Feed.
	log     *Log
	p       *partition
	signals chan streams.FeedMessage
	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // the run goroutine
	wake    chan struct{}  // holds one token while changed is not empty

	mu      sync.Mutex                // guards the fields below
	want    map[streams.Room]uint64   // ticket of each room joined
	changed map[streams.Room]struct{} // rooms joined or left since the session looked
}

var _ streams.Feed = (*feed)(nil)

// Feed implements streams.Log. The feed of a closed log is closed.
func (l *Log) Feed(p streams.Partition) streams.Feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{
		log: l, p: l.partitions[p], ctx: ctx, cancel: cancel,
		signals: make(chan streams.FeedMessage, maxSignals),
		wake:    make(chan struct{}, 1),
		want:    map[streams.Room]uint64{},
		changed: map[streams.Room]struct{}{},
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		cancel()
	} else {
		l.feeds[f] = struct{}{}
	}
	f.running.Go(f.run)
	return f
}

func (f *feed) Messages() <-chan streams.FeedMessage { return f.signals }

func (f *feed) Join(room streams.Room, ticket uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want[room] = ticket
	f.touch(room)
}

func (f *feed) Leave(room streams.Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, joined := f.want[room]; joined {
		delete(f.want, room)
		f.touch(room)
	}
}

// touch tells the session of a change. The caller must hold f.mu.
func (f *feed) touch(room streams.Room) {
	f.changed[room] = struct{}{}
	select {
	case f.wake <- struct{}{}:
	default: // it has been told
	}
}

// Close implements streams.Feed. It may be called again.
func (f *feed) Close() {
	f.cancel()
	f.running.Wait()
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	delete(f.log.feeds, f)
}

// run holds one session after the other until Close.
func (f *feed) run() {
	defer close(f.signals)
	again := backoff{first: firstWait, most: maxWait}
	for f.ctx.Err() == nil {
		connected, err := f.session()
		if f.ctx.Err() != nil {
			return
		}
		f.log.doubt(f.ctx, err)
		if connected {
			again.reset()
			f.log.opt.Logger.Warn("live feed lost; reconnecting", "partition", f.p.id, "error", err)
			if !f.say(f.ctx, streams.FeedMessage{Lost: true}) {
				return
			}
		} else {
			f.log.opt.Logger.Log(f.ctx, levelOf(err), "live feed cannot connect", "partition", f.p.id, "error", err)
		}
		_ = again.wait(f.ctx) // which the loop looks at
	}
}

// levelOf says how loud to tell of a feed that cannot connect. That Redis is away
// others tell; that this user may no longer subscribe, nobody.
func levelOf(err error) slog.Level {
	if permanent(err) {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// say hands a signal to the reader, however long it takes, and reports whether it
// did before ctx ended.
func (f *feed) say(ctx context.Context, s streams.FeedMessage) bool {
	select {
	case f.signals <- s:
		return true
	case <-ctx.Done():
		return false
	}
}

// changeAll makes every room joined a change, for a session that knows none.
func (f *feed) changeAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for room := range f.want {
		f.touch(room)
	}
}

// A change is what the reader wants of a room now.
type change struct {
	room   streams.Room
	joined bool
	ticket uint64
}

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
