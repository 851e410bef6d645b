package service_test

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// memLog is a streams.Log in memory, with switches for failures that a real log does not
// produce on demand. It has one partition, and its clock is a counter.
type memLog struct {
	mu               sync.Mutex
	clock            uint64
	floor            streams.ID
	unrecordedBefore streams.ID
	cap              int
	logged           map[streams.Room][]*streams.Event // kept
	tails            map[streams.Room]streams.ID
	chain            map[streams.Room][]*streams.Event // kept or trimmed, but not lost
	ever             map[streams.Room][]*streams.Event
	feeds            []*memFeed
	reads            int // calls of After and Before
	watermarkReads   int // calls of Watermarks

	down      bool                      // every call fails
	failReads int                       // number of reads of events that fail next, each after a second
	loseFrame func(*streams.Event) bool // reports which events are logged but not sent live
	frameLost bool                      // loseFrame was used
	slow      bool                      // messages of the feeds wait for flow
	held      []func()                  // the waiting messages, in order
	ephemeral streams.Room              // the room that is never logged
	sizes     []int                     // of the data of published events, in turn; 1 byte without any

	// Each hook runs once, without the lock: before a read of events, before Watermarks
	// reads, and before Watermarks returns.
	onRead, beforeWatermarks, onWatermarks func()
	hooks                                  sync.WaitGroup // running hooks
}

func newMemLog() *memLog {
	return &memLog{
		clock: 1, floor: streams.MakeID(1, 1, 0), unrecordedBefore: streams.MakeID(1, 0, 0), cap: 1000,
		logged: map[streams.Room][]*streams.Event{},
		tails:  map[streams.Room]streams.ID{},
		chain:  map[streams.Room][]*streams.Event{},
		ever:   map[streams.Room][]*streams.Event{},
	}
}

func (l *memLog) lastLocked() streams.ID { return streams.MakeID(1, l.clock, 0) }

func (l *memLog) Partitions() int { return 1 }

func (l *memLog) Append(_ context.Context, drafts []streams.Draft) []streams.Receipt {
	l.mu.Lock()
	defer l.mu.Unlock()
	receipts := make([]streams.Receipt, len(drafts))
	for i, d := range drafts {
		if l.down {
			receipts[i].Err = streams.ErrUnavailable
			continue
		}
		receipts[i].ID = l.appendLocked(d).ID
	}
	return receipts
}

func (l *memLog) appendLocked(d streams.Draft) *streams.Event {
	if d.Room == l.ephemeral {
		l.clock++
		e := &streams.Event{ID: l.lastLocked(), Room: d.Room, Type: d.Type, Data: d.Data, Trace: d.Trace, Ephemeral: true}
		for _, f := range l.feeds {
			f.send(e)
		}
		return e
	}
	prev, recorded := l.tails[d.Room]
	if !recorded {
		prev = l.unrecordedBefore
	}
	e := &streams.Event{Prev: streams.Later(prev, l.floor), Room: d.Room, Type: d.Type, Data: d.Data, Trace: d.Trace}
	l.clock++
	e.ID = l.lastLocked()
	kept := append(l.logged[d.Room], e)
	l.logged[d.Room] = kept[max(0, len(kept)-l.cap):]
	l.chain[d.Room] = append(l.chain[d.Room], e)
	l.ever[d.Room] = append(l.ever[d.Room], e)
	l.tails[d.Room] = e.ID
	if l.loseFrame == nil || !l.loseFrame(e) {
		for _, f := range l.feeds {
			f.send(e)
		}
	}
	return e
}

// trim removes the oldest n events of a room.
func (l *memLog) trim(room streams.Room, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logged[room] = slices.Clone(l.logged[room][min(n, len(l.logged[room])):])
}

// expire removes a room's events, and its tail record if it is forgotten, as Redis does
// when they expire.
func (l *memLog) expire(room streams.Room, forgotten bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.logged, room)
	if forgotten {
		delete(l.tails, room)
		l.unrecordedBefore = l.lastLocked()
	}
}

// loseEnd loses the newest n events of the partition and raises the floor, as a log does
// that notices the loss.
func (l *memLog) loseEnd(n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := streams.MakeID(1, l.clock-min(n, l.clock-l.floor.Seq()), 0)
	upTo := func(events []*streams.Event) []*streams.Event {
		i := slices.IndexFunc(events, func(e *streams.Event) bool { return to.Before(e.ID) })
		if i < 0 {
			return events
		}
		return events[:i:i]
	}
	for room := range l.logged {
		l.logged[room], l.chain[room] = upTo(l.logged[room]), upTo(l.chain[room])
		delete(l.tails, room)
		if n := len(l.chain[room]); n > 0 {
			l.tails[room] = l.chain[room][n-1].ID
		}
	}
	l.clock++
	l.floor = l.lastLocked()
}

func (l *memLog) Watermarks(_ context.Context, _ streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	l.hook(&l.beforeWatermarks)
	w, err := l.readWatermarks(rooms)
	l.hook(&l.onWatermarks)
	return w, err
}

// hook runs the function at *at, once, without the lock.
func (l *memLog) hook(at *func()) {
	l.mu.Lock()
	run := *at
	*at = nil
	if run != nil {
		l.hooks.Add(1)
	}
	l.mu.Unlock()
	if run != nil {
		defer l.hooks.Done()
		run()
	}
}

func (l *memLog) readWatermarks(rooms []streams.Room) (streams.Watermarks, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down {
		return streams.Watermarks{}, streams.ErrUnavailable
	}
	l.watermarkReads++
	w := streams.Watermarks{Last: l.lastLocked(), Floor: l.floor, UnrecordedBefore: l.unrecordedBefore}
	for _, r := range rooms {
		w.Tails = append(w.Tails, l.tails[r])
	}
	return w, nil
}

func (l *memLog) After(_ context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	return l.read(room, func(kept []*streams.Event) streams.Page {
		kept = slices.DeleteFunc(kept, func(e *streams.Event) bool { return !after.Before(e.ID) || through.Before(e.ID) })
		return pageOf(kept, limit)
	})
}

func (l *memLog) Before(_ context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	return l.read(room, func(kept []*streams.Event) streams.Page {
		kept = slices.DeleteFunc(kept, func(e *streams.Event) bool { return !e.ID.Before(before) })
		slices.Reverse(kept)
		p := pageOf(kept, limit)
		slices.Reverse(p.Events)
		return p
	})
}

// pageOf returns the first events that limit allows.
func pageOf(kept []*streams.Event, limit streams.ReadLimit) (p streams.Page) {
	bytes := 0
	for _, e := range kept {
		if !limit.WithoutData {
			bytes += len(e.Data)
		}
		if len(p.Events) == limit.Events || len(p.Events) > 0 && bytes > limit.Bytes {
			p.More = true
			break
		}
		if limit.WithoutData {
			e = &streams.Event{ID: e.ID, Prev: e.Prev, Room: e.Room, Type: e.Type}
		}
		p.Events = append(p.Events, e)
	}
	return p
}

func (l *memLog) read(room streams.Room, pick func([]*streams.Event) streams.Page) (streams.Page, error) {
	l.hook(&l.onRead)
	l.mu.Lock()
	if l.failReads > 0 {
		l.failReads--
		l.mu.Unlock()
		time.Sleep(time.Second)
		return streams.Page{}, streams.ErrUnavailable
	}
	defer l.mu.Unlock()
	if l.down {
		return streams.Page{}, streams.ErrUnavailable
	}
	l.reads++
	return pick(slices.Clone(l.logged[room])), nil
}

func (l *memLog) Ping(context.Context) error { return nil }
func (l *memLog) Close() error               { return nil }

func (l *memLog) Feed(streams.Partition) streams.Feed {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := &memFeed{log: l, joined: map[streams.Room]uint64{}, messages: make(chan streams.FeedMessage, 1<<16)}
	l.feeds = append(l.feeds, f)
	return f
}

// loseFeeds disconnects every feed. Events published until rejoinFeeds are not sent live.
func (l *memLog) loseFeeds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.feeds {
		if !f.down {
			f.down = true
			f.emit(streams.FeedMessage{Lost: true})
		}
	}
}

func (l *memLog) rejoinFeeds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range l.feeds {
		if f.down {
			f.down = false
			for room, ticket := range f.joined {
				f.emit(streams.FeedMessage{Joined: room, Ticket: ticket})
			}
		}
	}
}

// flow sends the messages that were held back.
func (l *memLog) flow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow = false
	for _, emit := range l.held {
		emit()
	}
	l.held = nil
}

// backlog returns the number of messages that the first feed's reader has not taken.
func (l *memLog) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.feeds[0].messages)
}

// memFeed is guarded by its log's lock.
type memFeed struct {
	log      *memLog
	joined   map[streams.Room]uint64
	messages chan streams.FeedMessage
	down     bool
	closed   bool
}

func (f *memFeed) send(e *streams.Event) {
	if _, ok := f.joined[e.Room]; ok && !f.down && !f.closed {
		f.emit(streams.FeedMessage{Event: e})
	}
}

// emit sends a message, or holds it back while the log is slow.
func (f *memFeed) emit(m streams.FeedMessage) {
	if f.log.slow || len(f.log.held) > 0 {
		f.log.held = append(f.log.held, func() {
			if !f.closed {
				f.messages <- m
			}
		})
		return
	}
	f.messages <- m
}

func (f *memFeed) Join(room streams.Room, ticket uint64) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.joined[room] = ticket
	if !f.down {
		f.emit(streams.FeedMessage{Joined: room, Ticket: ticket})
	}
}

func (f *memFeed) Leave(room streams.Room) {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	delete(f.joined, room)
}

func (f *memFeed) Messages() <-chan streams.FeedMessage { return f.messages }

func (f *memFeed) Close() {
	f.log.mu.Lock()
	defer f.log.mu.Unlock()
	f.closed = true
	close(f.messages)
}
