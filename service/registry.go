package service

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/streams"
)

// A registry holds the rooms of one partition that this node follows, and asks the feed
// to join and leave them.
type registry struct {
	// Fixed by newRegistry.
	feed   streams.Feed
	linger time.Duration
	count  prometheus.Gauge

	mu           sync.Mutex // guards the fields below, and the fields of rooms that say so
	rooms        map[streams.Room]*room
	tickets      uint64
	pendingJoins int       // rooms that the feed has not confirmed
	lastProgress time.Time // of the last confirmation, or of the first pending join
}

func newRegistry(feed streams.Feed, linger time.Duration, count prometheus.Gauge) *registry {
	return &registry{feed: feed, linger: linger, count: count, rooms: make(map[streams.Room]*room)}
}

// acquire returns the room with one more reference, and follows it if it is new.
func (g *registry) acquire(name streams.Room) *room {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.rooms[name]
	if r == nil {
		g.tickets++
		r = newRoom(name, g.tickets)
		g.rooms[name] = r
		g.expectLocked(r)
		g.feed.Join(name, r.ticket)
		g.count.Inc()
	}
	r.refs++
	return r
}

// release gives a reference back. sweep leaves the room after the linger time.
func (g *registry) release(r *room) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r.refs--
	if r.refs == 0 {
		r.unusedSince = time.Now()
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

// sweep leaves the rooms that had no subscription for the linger time, and returns them.
// empty reports whether no room remains.
func (g *registry) sweep() (left []*room, empty bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, r := range g.rooms {
		if r.refs == 0 && time.Since(r.unusedSince) >= g.linger {
			delete(g.rooms, name)
			g.settleLocked(r)
			g.feed.Leave(name)
			g.count.Dec()
			left = append(left, r)
		}
	}
	return left, len(g.rooms) == 0
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
