package service

import (
	"container/list"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// ErrRoomsFull is the error of Subscribe if the node follows Options.MaxFollowedRooms rooms
// and none of them can be left.
var ErrRoomsFull = errors.New("this node follows as many rooms as it may")

// A registry holds the rooms of one partition that this node follows, and asks the feed
// to join and leave them.
type registry struct {
	// Fixed by newRegistry.
	feed   streams.Feed
	linger time.Duration
	count  prometheus.Gauge
	memory *memory
	max    int64 // rooms of the node

	mu           sync.Mutex // guards the fields below, and the fields of rooms that say so
	rooms        map[streams.Room]*room
	unused       list.List // of *room without subscriptions, the longest unused first
	tickets      uint64
	pendingJoins int       // rooms that the feed has not confirmed
	lastProgress time.Time // of the last confirmation, or of the first pending join
}

func newRegistry(feed streams.Feed, o *Options, count prometheus.Gauge, m *memory) *registry {
	g := &registry{
		feed: feed, linger: o.Linger, count: count, memory: m, max: int64(o.MaxFollowedRooms),
		rooms: make(map[streams.Room]*room),
	}
	m.registries = append(m.registries, g)
	return g
}

// acquire returns the room with one more reference, and follows it if it is new. If the node
// follows as many rooms as it may, it leaves an unused one first. The error is ErrRoomsFull.
func (g *registry) acquire(name streams.Room) (*room, error) {
	for {
		r, err := g.tryAcquire(name)
		if err == nil || !g.memory.leaveUnused() {
			return r, err
		}
	}
}

// leaveUnused leaves the room of the node, of any partition, that is unused for longest in
// its partition. It reports false if every room is in use.
func (m *memory) leaveUnused() bool {
	for _, g := range m.registries {
		if g.leaveOldest() {
			return true
		}
	}
	return false
}

func (g *registry) leaveOldest() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	oldest := g.unused.Front()
	if oldest != nil {
		g.leaveLocked(oldest.Value.(*room))
	}
	return oldest != nil
}

// tryAcquire is acquire for a node that may follow the room without leaving another.
func (g *registry) tryAcquire(name streams.Room) (*room, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[name]
	if r == nil {
		var err error
		if r, err = g.followLocked(name); err != nil {
			return nil, err
		}
	}
	r.refs++
	if r.unused != nil {
		g.unused.Remove(r.unused)
		r.unused = nil
	}
	return r, nil
}

// followLocked follows a new room.
func (g *registry) followLocked(name streams.Room) (*room, error) {
	if g.memory.rooms.Add(1) > g.max {
		g.memory.rooms.Add(-1)
		return nil, fmt.Errorf("%w: %d", ErrRoomsFull, g.max)
	}
	g.tickets++
	r := newRoom(name, g.tickets, g.memory)
	g.rooms[name] = r
	g.expectLocked(r)
	g.feed.Join(name, r.ticket)
	g.count.Inc()
	return r, nil
}

// leaveLocked stops following an unused room.
func (g *registry) leaveLocked(r *room) {
	g.unused.Remove(r.unused)
	delete(g.rooms, r.name)
	g.settleLocked(r)
	g.feed.Leave(r.name)
	g.count.Dec()
	g.memory.rooms.Add(-1)
	r.leave()
}

// release gives a reference back. sweep leaves the room after the linger time.
func (g *registry) release(r *room) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.refs--
	if r.refs == 0 {
		r.unusedSince = time.Now()
		r.unused = g.unused.PushBack(r)
	}
}

// expectLocked notes that the feed has to confirm r.
func (g *registry) expectLocked(r *room) {
	if r.joinPending {
		return
	}
	if g.pendingJoins == 0 {
		g.lastProgress = time.Now()
	}
	r.joinPending = true
	g.pendingJoins++
}

// settleLocked notes that the feed has confirmed r, or does not have to any more.
func (g *registry) settleLocked(r *room) {
	if r.joinPending {
		r.joinPending = false
		g.pendingJoins--
		g.lastProgress = time.Now()
	}
}

// stalled returns how long the feed has confirmed none of the pending joins.
func (g *registry) stalled() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pendingJoins == 0 {
		return 0
	}
	return time.Since(g.lastProgress)
}

// sweep leaves the rooms that had no subscription for the linger time. empty reports whether
// no room remains.
func (g *registry) sweep() (empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for oldest := g.unused.Front(); oldest != nil; oldest = g.unused.Front() {
		r := oldest.Value.(*room)
		if time.Since(r.unusedSince) < g.linger {
			break
		}
		g.leaveLocked(r)
	}
	return len(g.rooms) == 0
}

// trimHot shortens the hot tails if those of the node take too much memory together.
func (g *registry) trimHot(maxHot int) {
	if g.memory.fits(0) {
		return
	}
	for _, r := range g.all() {
		r.trim(maxHot)
	}
}

// lookup returns a followed room, or nil.
func (g *registry) lookup(name streams.Room) *room {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.rooms[name]
}

// all returns every followed room, including those that linger.
func (g *registry) all() []*room {
	g.mu.Lock()
	defer g.mu.Unlock()
	rooms := make([]*room, 0, len(g.rooms))
	for _, r := range g.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}

// known returns the rooms whose position is known: the pump answers for these.
func (g *registry) known() []*room {
	rooms := g.all()
	known := rooms[:0]
	for _, r := range rooms {
		if _, ok := r.position(); ok {
			known = append(known, r)
		}
	}
	return known
}

// feedLost makes every room wait for the feed, and returns those with a known position.
func (g *registry) feedLost() (known []*room) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.rooms {
		g.expectLocked(r)
		if r.feedLost() {
			known = append(known, r)
		}
	}
	return known
}

// feedJoined notes that the feed carries the room of this ticket. It returns nil if the
// room was left since.
func (g *registry) feedJoined(name streams.Room, ticket uint64) *room {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[name]
	if r == nil || r.ticket != ticket {
		return nil
	}
	g.settleLocked(r)
	return r
}

// repaired ends the wait of every room that joined while the pump was repairing.
func (g *registry) repaired() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, r := range g.rooms {
		r.repaired()
	}
}
