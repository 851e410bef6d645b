package service

import (
	"context"
	"sort"
	"sync"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A room is what a node knows of a room that it follows: how far the pump has
// passed, the newest events, and who is to be told.
type room struct {
	// Fixed by pump.acquire.
	name   streams.Room
	ticket uint64 // of the Join that the feed was asked

	// Guarded by pump.registry.
	refs    int       // subscriptions
	since   time.Time // when refs became 0
	awaited bool      // the feed has not announced it

	mu sync.Mutex // guards the fields below

	// ready is closed while the feed has joined the room and the pump listens to
	// it; another channel takes its place when the feed is lost. What is logged
	// after it was seen closed comes live, for as long as it is not replaced.
	ready  chan struct{}
	joined bool // the feed has joined; the pump may still be repairing

	// known says that pos and start are. From then on the pump hands over
	// everything after pos, repairs included.
	known   bool
	pos     streams.ID // every event at or before has been handed over
	offered streams.ID // and offered to every member: behind pos while one is handed round
	newest  streams.ID // the newest event handed over; zero if none

	// The hot tail: every event in (start, pos], oldest first. Slices of it are
	// shared: it is only appended to, and cut at its front.
	start streams.ID
	hot   []*streams.Event
	bytes int

	// filled says that the log was asked for what lies before start.
	filled  bool
	filling chan struct{} // closed when the filling in progress ends; nil if none

	// While an event is handed round, without the lock, members is only added to.
	members []*member
	rounds  bool      // one is
	left    []*member // who left meanwhile
}

// A member is one subscription's place in a room.
type member struct {
	room  *room
	leg   *leg
	index int // in room.members
}

func newRoom(name streams.Room, ticket uint64) *room {
	return &room{name: name, ticket: ticket, ready: make(chan struct{})}
}

// attach adds a leg, which is offered every event from now on.
func (r *room) attach(l *leg) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &member{room: r, leg: l, index: len(r.members)}
	r.members = append(r.members, m)
	return m
}

// detach takes a member away.
func (r *room) detach(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rounds {
		r.left = append(r.left, m)
		return
	}
	r.removeLocked(m)
}

func (r *room) removeLocked(m *member) {
	last := len(r.members) - 1
	r.members[m.index] = r.members[last]
	r.members[m.index].index = m.index
	r.members[last] = nil
	r.members = r.members[:last]
}

// awaitReady waits until the pump answers for the room, or can from now on: its
// position is known, or the returned channel, which goes to baseline, is closed.
func (r *room) awaitReady(ctx context.Context) (chan struct{}, error) {
	r.mu.Lock()
	ready, known := r.ready, r.known
	r.mu.Unlock()
	if known {
		return ready, nil
	}
	select {
	case <-ready:
		return ready, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// baseline makes pos known, as last: the partition's last id, read while ready
// was closed. It reports whether pos is known; if not, the feed was lost
// meanwhile and the caller must wait and read again.
func (r *room) baseline(ready chan struct{}, last streams.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known && r.ready == ready {
		r.knownLocked(last)
	}
	return r.known
}

func (r *room) knownLocked(pos streams.ID) {
	r.known, r.pos, r.offered, r.start = true, pos, pos, pos
}

// position returns the position up to which everything was handed over.
func (r *room) position() (pos streams.ID, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pos, r.known
}

// reached returns the position up to which every member was offered everything.
func (r *room) reached() streams.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offered
}

// verdict is what the pump is to do with a live event.
type verdict int

const (
	drop    verdict = iota // passed already, or not to be heard yet
	deliver                // it follows what was handed over
	repair                 // something is missing before it
)

// judge looks at a live event before it is handed over.
func (r *room) judge(e *streams.Event) verdict {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !r.joined || r.known && !r.pos.Before(e.ID):
		return drop
	case e.Ephemeral:
		return deliver
	case !r.known:
		r.knownLocked(e.Prev)
		return deliver
	case r.pos.Before(e.Prev):
		return repair
	case e.Prev.Before(r.newest):
		return repair // the log has gone back behind what we saw in it
	}
	return deliver
}

// keep puts e into the hot tail and returns the members to offer it to, by
// handRound. late says that later events of the partition have been handed over
// before: such an event is offered here, for whoever follows several rooms must not
// go live between the two.
func (r *room) keep(e *streams.Event, late bool, o *Options) []*member {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.known && !r.pos.Before(e.ID) {
		return nil // the first look at the room came in after judge, and covers it
	}
	if !r.known {
		r.knownLocked(e.ID) // an ephemeral event, which has no event before it
	}
	r.pos = e.ID
	if !e.Ephemeral { // which is not of what can be returned to
		r.newest = e.ID
		r.keepLocked(e, o)
	}
	if late || len(r.members) == 0 {
		r.offered = r.pos
		offerAll(r.members, itemOf(e), late)
		return nil
	}
	r.rounds = true
	return r.members
}

// handRound offers e to members, without a lock, so that nobody who comes or goes
// waits for the round. Whoever goes live meanwhile has e from the hot tail.
func (r *room) handRound(members []*member, e *streams.Event) {
	if len(members) == 0 {
		return
	}
	offerAll(members, itemOf(e), false)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rounds, r.offered = false, r.pos
	for _, m := range r.left {
		r.removeLocked(m)
	}
	r.left = nil
}

func itemOf(e *streams.Event) replay.Item { return replay.Item{Event: e, Place: e.ID, Position: e.ID} }

func offerAll(members []*member, it replay.Item, late bool) {
	for _, m := range members {
		m.leg.offer(it, late)
	}
}

// handGap tells every member that events are missing before it.Place. The hot tail
// starts anew there, for the notice belongs to everyone who returns from before.
func (r *room) handGap(it replay.Item) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = streams.Later(r.pos, it.Place)
	r.offered = r.pos
	r.newest = streams.ID{}
	r.start, r.hot, r.bytes = r.pos, nil, 0
	r.filled = true // and must not reach back again: that would hide the notice
	offerAll(r.members, it, false)
}

// passed notes that nothing is missing up to pos.
func (r *room) passed(pos streams.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = streams.Later(r.pos, pos)
	r.offered = r.pos
}

func (r *room) keepLocked(e *streams.Event, o *Options) {
	if n := len(r.hot); n == cap(r.hot) {
		// What was cut at the front is held by the array until here. append would have it
		// hold half as many as are kept, in all rooms together hundreds of megabytes.
		r.hot = append(make([]*streams.Event, 0, n+n/8+8), r.hot...)
	}
	r.hot = append(r.hot, e)
	r.bytes += len(e.Data)
	for len(r.hot) > o.Hot || r.bytes > hotBytes && len(r.hot) > 0 {
		r.start = r.hot[0].ID
		r.bytes -= len(r.hot[0].Data)
		r.hot = r.hot[1:]
	}
}

// afterLocked returns what the hot tail holds after pos; ok says that this is
// everything. A position that the pump has not reached yet counts only if it is
// trusted: read from the log, not only handed in by a client.
func (r *room) afterLocked(pos streams.ID, trusted bool) (events []*streams.Event, ok bool) {
	if !r.known || pos.Before(r.start) || r.pos.Before(pos) && !trusted {
		return nil, false
	}
	i := sort.Search(len(r.hot), func(i int) bool { return pos.Before(r.hot[i].ID) })
	return r.hot[i:], true
}

// fill extends the hot tail backwards by one read of the log, for many are
// likely to come back with cursors from there: after a restart of the node, or
// when the room is first followed. One caller at a time reads, and the others wait
// for it: if it fails, the next one tries, for a log that is slow must not be asked
// by everybody at once. floor bounds it: what lies before must be told to have
// been lost.
func (r *room) fill(ctx context.Context, log streams.Log, floor streams.ID, o *Options) error {
	for {
		r.mu.Lock()
		if r.filled || !r.known {
			r.mu.Unlock()
			return nil
		}
		wait := r.filling
		if wait == nil {
			r.filling = make(chan struct{})
			r.mu.Unlock()
			return r.fillNow(ctx, log, floor, o)
		}
		r.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fillNow is fill for the one caller that reads.
func (r *room) fillNow(ctx context.Context, log streams.Log, floor streams.ID, o *Options) error {
	r.mu.Lock()
	start, want := r.start, o.Hot-len(r.hot)
	r.mu.Unlock()
	var older []*streams.Event
	var err error
	if want > 0 {
		older, err = log.Before(ctx, r.name, start.Next(), want)
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.filling)
	r.filling = nil
	if err != nil {
		return err
	}
	if !r.filled && r.start == start {
		r.prependLocked(older, floor)
	}
	r.filled = true
	return nil
}

// prependLocked puts older, which reaches up to start, before the hot tail: as
// much of it as is an unbroken chain after floor and fits.
func (r *room) prependLocked(older []*streams.Event, floor streams.ID) {
	bytes := r.bytes
	from := len(older)
	start := r.start
	for i := len(older) - 1; i >= 0; i-- {
		e := older[i]
		if from < len(older) && older[from].Prev != e.ID || !floor.Before(e.ID) || bytes+len(e.Data) > hotBytes {
			break
		}
		bytes += len(e.Data)
		from, start = i, streams.Later(e.Prev, floor)
	}
	if from == len(older) {
		return
	}
	r.hot = append(append(make([]*streams.Event, 0, len(older)-from+len(r.hot)), older[from:]...), r.hot...)
	r.bytes, r.start = bytes, start
	if r.newest.IsZero() {
		r.newest = r.hot[len(r.hot)-1].ID
	}
}
