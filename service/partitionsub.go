package service

import (
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A subState is where a partitionSub gets its next items from.
//
//	from       event                                                to
//	(new)      Subscribe                                            locating
//	locating   the start is now, and the pump knows that position   live
//	locating   the client's cursor names the position               replaying
//	locating   the log showed the position of the start             replaying
//	replaying  the hot tails have no more items after pos           live
//	live       the queue overflowed                                 replaying
//
// Only the writer leaves locating and replaying, and only the pump leaves live. So the
// writer may read the state without the lock while it is not live.
type subState uint8

const (
	locating  subState = iota // pos is not known
	replaying                 // the writer reads the items after pos from memory or the log
	live                      // the pump queues the items after queued
)

// A partitionSub is a subscription's part in one partition.
type partitionSub struct {
	// Fixed by newPartitionSub.
	sub       *Subscription
	partition *partition
	rooms     []*room
	members   []*member
	start     replay.Start

	// Owned by the writer, and used while the part is replaying.
	reader *replay.Reader // of the replay from the log in progress; nil without one
	// readerOnly says that the rooms do not all start at pos. Only reader knows where
	// they do, so the hot tails cannot be used before it is done.
	readerOnly bool
	// verified says that the log is known to reach pos. The cursor of a client alone does
	// not prove that, because it may be of another log.
	verified bool

	// Guarded by sub.mu. Only the writer changes pos, and may read it without the lock.
	state    subState
	pos      streams.ID // after the last item taken
	queued   streams.ID // position of the newest item queued, or pos when it went live
	coverage coverage
	gaps     openGaps
}

// newPartitionSub follows rooms. After an error, which is ErrRoomsFull, it follows some of
// them, and the caller must call leave.
func newPartitionSub(s *Subscription, p *partition, names []streams.Room, start replay.Start) (*partitionSub, error) {
	ps := &partitionSub{sub: s, partition: p, start: start}
	for _, name := range names {
		r, err := p.registry.acquire(name)
		if err != nil {
			return ps, err
		}
		ps.rooms = append(ps.rooms, r)
		ps.members = append(ps.members, r.attach(ps))
	}
	return ps, nil
}

// leave ends the part.
func (ps *partitionSub) leave() {
	for _, m := range ps.members {
		m.room.detach(m)
		ps.partition.registry.release(m.room)
	}
}

// offer implements subscriber. It queues an item that the pump delivers, unless the
// connection has it already or will read it in its replay.
func (ps *partitionSub) offer(it replay.Item, late bool) {
	s := ps.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // closed during the fan-out
	}
	given := ps.pos // the furthest position given to the connection or queued for it
	if ps.state == live {
		given = ps.queued
	}
	switch {
	case ps.coverage.includes(it.Place), ps.gaps.contains(it):
		return
	case given.Before(it.Place):
		if ps.state != live {
			return // the replay reads it from the log or from the hot tail
		}
	case it.Event != nil && !late:
		return
	default:
		it = lateGap(it, given)
	}
	it.Position = streams.Later(it.Position, given)
	ps.queued = it.Position
	s.enqueueLocked(it)
}

// wake implements subscriber.
func (ps *partitionSub) wake() { ps.sub.wake() }

// lockRooms keeps the pump from delivering to the part's rooms, and locks them, until
// the returned function is called.
func (ps *partitionSub) lockRooms() (unlock func()) {
	if len(ps.rooms) == 1 {
		ps.rooms[0].mu.Lock() // one room needs no common moment with the others
		return ps.rooms[0].mu.Unlock
	}
	ps.partition.mu.Lock()
	for _, r := range ps.rooms {
		r.mu.Lock()
	}
	return func() {
		for _, r := range ps.rooms {
			r.mu.Unlock()
		}
		ps.partition.mu.Unlock()
	}
}

// located ends the search for the start: the client has every event that it asked for up
// to pos.
func (ps *partitionSub) located(pos streams.ID) {
	ps.advance(pos, true)
	ps.sub.mu.Lock()
	defer ps.sub.mu.Unlock()
	ps.state = replaying
}

// goLive lets the pump queue the items after pos. The caller must hold the rooms.
func (ps *partitionSub) goLive(pos streams.ID) {
	ps.sub.mu.Lock()
	defer ps.sub.mu.Unlock()
	ps.state, ps.queued = live, pos
}

// overflowLocked continues a live part with a replay. The caller must hold sub.mu.
func (ps *partitionSub) overflowLocked() {
	if ps.state == live {
		ps.state = replaying
	}
}

// advance moves the part to pos. covered says that the events up to pos were read from the
// log, or that the client came with pos.
func (ps *partitionSub) advance(pos streams.ID, covered bool) {
	ps.sub.mu.Lock()
	defer ps.sub.mu.Unlock()
	switch {
	case pos.Before(ps.pos): // the cursor was of another log
		ps.coverage = coverage{through: pos}
	case covered:
		ps.coverage.extend(ps.pos, pos)
	}
	ps.pos = pos
}

// dedupe drops the items that the connection has received, and records the rest.
func (ps *partitionSub) dedupe(items []replay.Item) []replay.Item {
	ps.sub.mu.Lock()
	defer ps.sub.mu.Unlock()
	return ps.gaps.dedupe(items, ps.pos)
}

// offeredTo returns the position up to which the part was offered every event.
func (ps *partitionSub) offeredTo() streams.ID {
	least := ps.rooms[0].offeredTo()
	for _, r := range ps.rooms[1:] {
		if pos := r.offeredTo(); pos.Before(least) {
			least = pos
		}
	}
	return least
}

// commonEnd returns the position up to which the pump has processed every event of all
// rooms. The feed has one order, but some rooms may be ahead of it: a room's first position
// is read from the log, and a recovery delivers events from the log while the feed still
// holds events of a room that it did not read. After this position, the hot tails of several
// rooms do not show one moment. The caller must hold the rooms.
func (ps *partitionSub) commonEnd() streams.ID {
	if len(ps.rooms) == 1 {
		return ps.rooms[0].pos // the end of the hot tail
	}
	least := streams.Later(ps.rooms[0].pos, ps.partition.handled)
	for _, r := range ps.rooms[1:] {
		if pos := streams.Later(r.pos, ps.partition.handled); pos.Before(least) {
			least = pos
		}
	}
	return least
}
