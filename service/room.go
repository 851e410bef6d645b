package service

import (
	"container/list"
	"context"
	"sync"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A room is a node's state of one followed room: the position that the pump has reached,
// the hot tail, and the subscriptions that receive its events.
type room struct {
	// Fixed by registry.acquire.
	name   streams.Room
	ticket uint64 // of the Join sent to the feed

	// Guarded by registry.mu.
	refs        int           // subscriptions that follow the room
	unusedSince time.Time     // when refs became 0
	unused      *list.Element // in registry.unused; nil while refs is not 0
	joinPending bool          // the feed has not confirmed the room yet

	mu sync.Mutex // guards the fields below

	// ready is closed while the feed has joined the room and the pump processes its
	// events. Losing the feed replaces the channel. Every event logged after a caller saw
	// ready closed arrives live, unless ready was replaced since.
	ready  chan struct{}
	joined bool // the feed has joined the room; the pump may still be repairing

	// known says that pos is valid. Once it is, the pump delivers every event after pos,
	// from the feed or from the log.
	known   bool
	pos     streams.ID // the pump has processed every event up to here
	offered streams.ID // every member was offered every event up to here; behind pos during a fan-out
	newest  streams.ID // newest logged event delivered since the last gap; zero if none

	tail    hotTail       // the events up to pos
	gone    bool          // the node does not follow the room any more; tail stays empty
	filled  bool          // tail was extended backwards, or must not be
	filling chan struct{} // closed when the fill in progress ends; nil if none

	// A fan-out runs without the lock. Until it ends, members is only appended to.
	members    []*member
	fanningOut bool
	departed   []*member // left during the fan-out; removed when it ends
}

// A subscriber receives the events of a room. Both methods may be called under the locks of
// the room and its partition, and must not block.
type subscriber interface {
	// offer hands over an event or a gap notice. late says that later events of the
	// partition were offered before. Only the pump's goroutine calls offer.
	offer(it replay.Item, late bool)

	// wake makes the subscriber's owner look for new items and for an outage. Any goroutine
	// may call wake.
	wake()
}

// A member is one subscriber's place in a room.
type member struct {
	room  *room
	sub   subscriber
	index int // in room.members
}

func newRoom(name streams.Room, ticket uint64, m *memory) *room {
	return &room{name: name, ticket: ticket, ready: make(chan struct{}), tail: hotTail{memory: m}}
}

// leave frees the hot tail, because the node does not follow the room any more.
func (r *room) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = true
	r.tail.restart(r.pos)
}

// isGone reports whether the node does not follow the room any more.
func (r *room) isGone() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.gone
}

// trim shortens the hot tail if all hot tails together take too much memory.
func (r *room) trim(maxHot int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tail.trim(maxHot)
}

// attach adds a subscriber, which is offered every event that is delivered later.
func (r *room) attach(s subscriber) *member {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := &member{room: r, sub: s, index: len(r.members)}
	r.members = append(r.members, m)
	return m
}

// detach removes a member. A fan-out in progress may still offer it an event.
func (r *room) detach(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fanningOut {
		r.departed = append(r.departed, m)
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

// size returns the number of members.
func (r *room) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members)
}

// wake wakes every member.
func (r *room) wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.members {
		m.sub.wake()
	}
}

// awaitReady waits until the room's position is known, or until the returned channel is
// closed. Pass that channel to setBaseline.
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

// setBaseline sets an unknown position to last, the partition's last id read after ready
// was closed. It reports whether the position is known. If it is not, the feed was lost
// meanwhile, and the caller must wait and read again.
func (r *room) setBaseline(ready chan struct{}, last streams.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.known && r.ready == ready {
		r.setKnownLocked(last)
	}
	return r.known
}

func (r *room) setKnownLocked(pos streams.ID) {
	r.known, r.pos, r.offered, r.tail.start = true, pos, pos, pos
}

// position returns the position up to which the pump has processed every event.
func (r *room) position() (pos streams.ID, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pos, r.known
}

// offeredTo returns the position up to which every member was offered every event.
func (r *room) offeredTo() streams.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offered
}

// feedLost makes the room wait for the feed again. It reports whether the position is
// known. The caller must hold registry.mu.
func (r *room) feedLost() (known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.joined = false
	select {
	case <-r.ready:
		r.ready = make(chan struct{})
	default: // not closed: current waiters keep waiting
	}
	return r.known
}

// feedJoined notes that the feed carries the room. live says that the pump processes its
// events at once.
func (r *room) feedJoined(live bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined {
		return
	}
	r.joined = true
	if live {
		close(r.ready)
	}
}

// repaired ends the wait of a room that joined while the pump was repairing.
func (r *room) repaired() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined {
		close(r.ready)
	}
}
