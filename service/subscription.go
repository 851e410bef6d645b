package service

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A Subscription follows rooms for one connection. It is a cursor and a bounded
// queue, and has no goroutine: its owner is notified when there is something to
// take, and takes it with Next. A full queue is dropped and what was in it is
// read from the log, by the same code that serves a client who comes back.
//
// Ready, Next, Position and Close are for one goroutine at a time: the connection's
// writer.
type Subscription struct {
	// Fixed by Node.Subscribe.
	node    *Node
	legs    []*leg // one for each partition, in partition order
	notify  func()
	opening replay.Cursor

	// Owned by the writer.
	replayed  int
	announced bool          // that the replay is done
	spare     []replay.Item // the batch before, to be used again
	turn      int           // whose leg is read first
	queueLast bool          // the batch before was of the queue

	mu       sync.Mutex // guards the fields below, and what leg says
	queue    []replay.Item
	bytes    int
	notified bool // notify was called, and what is queued was not all taken since
	closed   bool

	// What queue and spare are where one event comes at a time: then none is
	// allocated.
	small [2][1]replay.Item
}

// A leg is a subscription's part in one partition.
type leg struct {
	// Fixed by newLeg.
	sub     *Subscription
	pump    *pump
	rooms   []*room
	members []*member

	// Owned by the writer.
	start   replay.Start
	located bool           // pos is what counts from now on, not start
	trusted bool           // pos comes from the log, not only from the client
	reader  *replay.Reader // of the replay in progress, if it is one of the log
	uneven  bool           // its rooms do not all begin at pos: it alone knows where they do

	// Guarded by sub.mu; only the writer changes pos, and reads it without.
	pos    streams.ID // after the last item taken
	live   bool
	queued streams.ID // position of the newest item queued, or pos when it went live
	proof  proof

	noticed []notice // that were taken, of a place which pos has not reached
}

// A notice stands for a gap notice that the connection was told. It comes where its
// hole begins, and the cursor lags behind until the hole's end: a client that is cut
// in between is told again. Until then the same notice may come once more, by a
// reading after an overflow or from the pump.
type notice struct {
	room  streams.Room
	place streams.ID
}

// A Batch is what a connection is to be told next.
type Batch struct {
	Items []replay.Item // valid until the next call of Next

	// ReplayDone says that with these items the replay is done, and Replayed how many
	// events it was. A subscription says so once.
	ReplayDone     bool
	Replayed int

	// Live says that the items came live: they are not of a replay.
	Live bool

	// More says to ask again: notify is not called for what comes after.
	More bool
}

// Empty reports whether there is nothing to tell now.
func (b Batch) Empty() bool { return len(b.Items) == 0 && !b.ReplayDone }

// InitialCursor returns the cursor to hand out before the first item: where the
// subscription stands.
func (s *Subscription) InitialCursor() replay.Cursor { return s.opening }

// errLog: what comes next is not in memory.
var errLog = errors.New("the log has to be read")

// Ready returns what comes next, as Next does, and waits for nothing: ok is false
// where the log has to be read. Then nothing has changed.
func (s *Subscription) Ready() (b Batch, ok bool) {
	turn, queueLast := s.turn, s.queueLast
	b, err := s.next((*leg).fromMemory)
	if err != nil {
		s.turn, s.queueLast = turn, queueLast
	}
	return b, err == nil
}

// Next returns what comes next, at most a few hundred items; an empty batch means
// that there is nothing now. Unless there is More, notify is called when there is
// something to take again. It waits for nothing but the log, within ctx. After an
// error (the log's, or ctx's) nothing is lost and it may be called again.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	return s.next(func(l *leg) ([]replay.Item, error) { return l.read(ctx) })
}

// next returns what is queued, or what read brings for the legs that are behind.
func (s *Subscription) next(read func(*leg) ([]replay.Item, error)) (Batch, error) {
	for {
		items, lagging, armed := s.take()
		fresh := len(items) > 0
		for i := 0; i < len(lagging) && len(items) == 0; i++ {
			var err error
			if items, err = read(lagging[i]); err != nil {
				return Batch{}, err
			}
		}
		b := Batch{Items: items, Live: fresh, More: !armed}
		if !s.announced {
			s.announce(&b)
		}
		if !b.Empty() || len(lagging) == 0 {
			return b, nil
		}
		// All were live for a moment. Only take knows whether they still are, and
		// arms notify if so.
	}
}

// announce counts what is replayed, and says so once when all of it is.
func (s *Subscription) announce(b *Batch) {
	for _, it := range b.Items {
		if it.Event != nil {
			s.replayed++
		}
	}
	if s.allLive() {
		s.announced = true
		b.ReplayDone, b.Replayed = true, s.replayed
	}
}

// take returns what is queued, or else the legs that are behind, each first in its
// turn; unless there are any, it arms notify. Where there are both they alternate, so
// that a busy partition does not keep the others waiting.
func (s *Subscription) take() (items []replay.Item, lagging []*leg, armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.legs {
		if l := s.legs[(s.turn+i)%len(s.legs)]; !l.live {
			lagging = append(lagging, l)
		}
	}
	s.turn++
	if len(s.queue) > 0 && (len(lagging) == 0 || !s.queueLast || s.overdueLocked()) {
		s.queueLast = true
		s.notified = lagging != nil
		return s.takeLocked(), nil, !s.notified
	}
	s.queueLast = false
	if lagging == nil {
		s.notified = false
		s.restLocked()
	}
	return nil, lagging, !s.notified
}

// restLocked lets go of what an idle connection does not need. The caller must hold
// mu, and the queue be empty.
func (s *Subscription) restLocked() {
	s.small = [2][1]replay.Item{}
	s.queue, s.spare = s.small[0][:0], s.small[1][:0]
}

// overdueLocked reports whether a notice for a leg that lags is queued: it comes
// before what the log has for that leg.
func (s *Subscription) overdueLocked() bool {
	return slices.ContainsFunc(s.queue, func(it replay.Item) bool { return !s.legOf(it.Position).live })
}

func (s *Subscription) takeLocked() []replay.Item {
	items := s.queue
	clear(s.spare)
	s.queue, s.spare, s.bytes = s.spare[:0], items, 0
	for i := range items {
		l := s.legOf(items[i].Position)
		items[i].Position = streams.Later(items[i].Position, l.pos)
		l.pos = items[i].Position
		l.noteLocked(items[i])
	}
	return items
}

// noteLocked remembers what was taken while it may come again. The caller must hold
// sub.mu.
func (l *leg) noteLocked(it replay.Item) {
	if len(l.noticed) > 0 {
		l.noticed = slices.DeleteFunc(l.noticed, func(n notice) bool { return !l.pos.Before(n.place) })
	}
	if it.Gap != nil && l.pos.Before(it.Place) && !l.hadLocked(it) {
		l.noticed = append(l.noticed, notice{it.Gap.Room, it.Place})
	}
}

// hadLocked reports whether the connection was told of it before.
func (l *leg) hadLocked(it replay.Item) bool {
	return it.Gap != nil && slices.Contains(l.noticed, notice{it.Gap.Room, it.Place})
}

// news are the items that the connection has not had, which it has from now on.
func (l *leg) news(items []replay.Item) []replay.Item {
	l.sub.mu.Lock()
	defer l.sub.mu.Unlock()
	items = slices.DeleteFunc(items, l.hadLocked)
	for _, it := range items {
		l.noteLocked(it)
	}
	return items
}

func (s *Subscription) allLive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.legs, func(l *leg) bool { return !l.live })
}

// legOf returns the leg that a position is of.
func (s *Subscription) legOf(id streams.ID) *leg {
	for _, l := range s.legs {
		if l.pump.partition == id.Partition() {
			return l
		}
	}
	panic("service: an item of a partition that is not followed")
}

// Position returns a cursor that may be further than the last item's: up to it
// nothing is missing. ok is false while there is something to take, for the
// cursor must not pass what was not sent.
func (s *Subscription) Position() (c replay.Cursor, ok bool) {
	// What was handed over up to here was queued before; if then the queue is
	// found empty, it was taken.
	reached := make([]streams.ID, len(s.legs))
	for i, l := range s.legs {
		reached[i] = l.reached()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) > 0 {
		return replay.Cursor{}, false
	}
	s.restLocked()
	ids := make([]streams.ID, len(s.legs))
	for i, l := range s.legs {
		if !l.live {
			return replay.Cursor{}, false
		}
		l.pos = streams.Later(l.pos, reached[i])
		l.queued = streams.Later(l.queued, l.pos)
		ids[i] = l.pos
	}
	return replay.CursorAt(ids...), true
}

// Close ends the subscription. Nothing is offered to it any more when Close returns.
func (s *Subscription) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for _, l := range s.legs {
		for _, m := range l.members {
			m.room.detach(m)
			l.pump.release(m.room)
		}
	}
	s.node.metrics.subscriptions.Dec()
}

func newLeg(s *Subscription, p *pump, names []streams.Room, start replay.Start) *leg {
	l := &leg{sub: s, pump: p, start: start}
	for _, name := range names {
		r := p.acquire(name)
		l.rooms = append(l.rooms, r)
		l.members = append(l.members, r.attach(l))
	}
	return l
}

// offer queues an item that the pump hands over. It never waits.
func (l *leg) offer(it replay.Item, late bool) {
	s := l.sub
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // while the event is handed round
	}
	given := l.pos // the furthest that the connection is told of without this item
	if l.live {
		given = l.queued
	}
	switch {
	case l.proof.covers(it.Place), l.hadLocked(it):
		return
	case given.Before(it.Place):
		if !l.live {
			return // it will be read from the log, or from the hot tail
		}
	case it.Event != nil && !late:
		return
	default:
		it = overdue(it, given)
	}
	it.Position = streams.Later(it.Position, given)
	l.queued = it.Position
	s.queueLocked(it)
	if !s.notified {
		s.notified = true
		s.notify()
	}
}

// overdue is what a connection is told of something that stands before what it
// was given already: frames of one room were lost, this was found only now, and
// the connection has gone on with its other rooms meanwhile. An event would break
// the order and take the cursor back; a notice does not.
func overdue(it replay.Item, given streams.ID) replay.Item {
	gap := it.Gap
	if e := it.Event; e != nil {
		gap = &replay.Gap{Room: e.Room, After: e.Prev, Before: e.ID.Next(), Reason: replay.UnknownCursor}
	}
	return replay.Item{Gap: gap, Place: it.Place, Position: given}
}

func (s *Subscription) queueLocked(it replay.Item) {
	if it.Gap != nil {
		s.node.metrics.gaps.WithLabelValues(string(it.Gap.Reason)).Inc()
	} else {
		s.bytes += len(it.Event.Data)
	}
	s.queue = append(s.queue, it)
	if len(s.queue) > s.node.opts.Queue || s.bytes > queueBytes {
		s.overflowLocked()
	}
}

// overflowLocked drops the queue: every leg goes on from the log, after the last
// item that was taken. Whoever reads slower than the room writes pays for it
// alone, in reads of its own.
func (s *Subscription) overflowLocked() {
	s.node.metrics.overflows.Inc()
	// What is overdue stays, for a reading from the last item taken would not come
	// by it. There is little: a notice for each frame lost.
	s.queue = slices.DeleteFunc(s.queue, func(it replay.Item) bool { return s.legOf(it.Place).pos.Before(it.Place) })
	for i := range s.queue {
		s.queue[i].Position = s.legOf(s.queue[i].Place).pos
	}
	s.bytes = 0
	for _, l := range s.legs {
		l.live = false
	}
}

// open finds where the leg starts. The position is the cursor to hand out.
func (l *leg) open(ctx context.Context) error {
	if l.start.IsNow() && l.fromNow() {
		return nil
	}
	pos, ok := l.start.Position(l.pump.partition, l.pump.log.Partitions())
	if ok {
		l.located = true
		l.advance(pos, true)
		if l.covered() {
			return nil
		}
	}
	return l.begin(ctx)
}

// fromNow goes live where the pump stands, if it stands anywhere yet.
func (l *leg) fromNow() bool {
	defer l.hold()()
	var pos streams.ID
	for _, r := range l.rooms {
		if !r.known {
			return false
		}
		pos = streams.Later(pos, r.pos)
	}
	l.located, l.trusted = true, true
	l.advance(pos, true)
	l.goLive(pos)
	return true
}

// hold keeps the pump from handing anything to the leg's rooms, and their locks,
// until the function that it returns is called.
func (l *leg) hold() (release func()) {
	if len(l.rooms) == 1 {
		l.rooms[0].mu.Lock() // the others need not wait for one room
		return l.rooms[0].mu.Unlock
	}
	l.pump.mu.Lock()
	for _, r := range l.rooms {
		r.mu.Lock()
	}
	return func() {
		for _, r := range l.rooms {
			r.mu.Unlock()
		}
		l.pump.mu.Unlock()
	}
}

// goLive lets offers through, after the position pos. The caller holds the rooms.
func (l *leg) goLive(pos streams.ID) {
	l.sub.mu.Lock()
	defer l.sub.mu.Unlock()
	l.live, l.queued = true, pos
}

// advance moves the leg to pos. proven says that the log itself was read up to
// there, or that the client came with it.
func (l *leg) advance(pos streams.ID, proven bool) {
	l.sub.mu.Lock()
	defer l.sub.mu.Unlock()
	switch {
	case pos.Before(l.pos): // the cursor was of another log
		l.proof = proof{claimed: pos}
	case proven:
		l.proof.extend(l.pos, pos)
	}
	l.pos = pos
}

// A proof says of which part of the order a connection was given everything,
// whatever the pump finds out later: what the client came with, and what was
// read from the log since. What came live is proven by the pump alone.
type proof struct {
	claimed  streams.ID // all up to here
	from, to streams.ID // and from < id <= to: the last reading
}

func (p *proof) covers(id streams.ID) bool {
	return !p.claimed.Before(id) || p.from.Before(id) && !p.to.Before(id)
}

func (p *proof) extend(from, to streams.ID) {
	switch {
	case !p.claimed.Before(from):
		p.claimed = streams.Later(p.claimed, to)
	case p.to == from:
		p.to = to
	default:
		p.from, p.to = from, to
	}
}

// covered reports whether the hot tails hold everything after the leg's position.
func (l *leg) covered() bool {
	defer l.hold()()
	for _, r := range l.rooms {
		if _, ok := r.afterLocked(l.pos, l.trusted); !ok {
			return false
		}
	}
	return true
}

// fromHot returns the next items from the hot tails, if these hold everything
// after the leg's position. live says that they are the last ones and the leg
// has gone live after them.
func (l *leg) fromHot() (items []replay.Item, live bool) {
	if !l.located || l.uneven {
		return nil, false
	}
	defer l.hold()()
	var events []*streams.Event
	more := false
	for _, r := range l.rooms {
		hot, ok := r.afterLocked(l.pos, l.trusted)
		if !ok {
			return nil, false
		}
		if len(hot) > batch {
			hot, more = hot[:batch], true
		}
		events = append(events, hot...)
	}
	if len(l.rooms) > 1 {
		slices.SortFunc(events, func(a, b *streams.Event) int { return a.ID.Compare(b.ID) })
	}
	if len(events) > batch {
		events, more = events[:batch], true
	}
	if n := len(events); n > 0 && l.cut().Before(events[n-1].ID) {
		return nil, false
	}
	pos := l.pos
	for _, e := range events {
		items = append(items, itemOf(e))
		pos = e.ID
	}
	if !more {
		l.goLive(pos)
	}
	l.trusted = true
	l.advance(pos, false)
	return items, !more
}

// cut returns the position up to which everything of all the leg's rooms was handed
// over. The pump hands over a partition in one order, but what a room starts with
// is read from the log and may be ahead of the pump: beyond the cut, the hot tails
// of several rooms are not of one moment. The caller holds the rooms.
func (l *leg) cut() streams.ID {
	if len(l.rooms) == 1 {
		return l.rooms[0].pos // whose hot tail reaches no further
	}
	least := streams.Later(l.rooms[0].pos, l.pump.pos)
	for _, r := range l.rooms[1:] {
		if pos := streams.Later(r.pos, l.pump.pos); pos.Before(least) {
			least = pos
		}
	}
	return least
}

// begin starts a replay from the log: of what came after the leg's position, or
// from its start where it has none yet.
func (l *leg) begin(ctx context.Context) error {
	edges, err := l.edges(ctx)
	if err != nil {
		return err
	}
	start := l.start
	if l.located {
		start = replay.After(replay.CursorAt(l.pos))
	}
	log := l.pump.log
	names := make([]streams.Room, len(l.rooms))
	for i, r := range l.rooms {
		names[i] = r.name
	}
	tracks, err := replay.Locate(ctx, log, log.Partitions(), l.pump.partition, edges, names, start)
	if err != nil {
		return err
	}
	for i, r := range l.rooms {
		if tracks[i].Pos.Before(edges.Tails[i]) {
			if err := r.fill(ctx, log, edges.Floor, l.pump.opts); err != nil {
				return err
			}
		}
	}
	if !l.located {
		l.located = true
		l.advance(replay.InitialPosition(tracks), true)
	}
	l.trusted = !edges.Last.Before(l.pos)
	l.reader = replay.NewReader(log, edges, tracks)
	l.uneven = slices.ContainsFunc(tracks, func(t replay.RoomStart) bool { return t.Pos != tracks[0].Pos })
	l.pump.metrics.catchUps.Inc()
	return nil
}

// edges reads what the log vouches for, at a moment from which on the pump hands
// over everything of the leg's rooms.
func (l *leg) edges(ctx context.Context) (streams.Watermarks, error) {
	for {
		ready := make([]chan struct{}, len(l.rooms))
		for i, r := range l.rooms {
			var err error
			if ready[i], err = r.awaitReady(ctx); err != nil {
				return streams.Watermarks{}, err
			}
		}
		edges, err := l.pump.edges(ctx, l.rooms, ready)
		if err != nil {
			return streams.Watermarks{}, err
		}
		if l.located && edges.Last.Before(l.pos) {
			// Either the cursor is of another log, or the answer was shared with
			// others and is older than the cursor: ask again, alone.
			if edges, err = readEdges(ctx, l.pump.log, l.pump.partition, l.rooms); err != nil {
				return streams.Watermarks{}, err
			}
		}
		known := true
		for i, r := range l.rooms {
			known = r.baseline(ready[i], edges.Last) && known
		}
		if known {
			return edges, nil
		}
	}
}

// reached returns the position up to which the leg was offered everything of its
// rooms.
func (l *leg) reached() streams.ID {
	least := l.rooms[0].reached()
	for _, r := range l.rooms[1:] {
		if pos := r.reached(); pos.Before(least) {
			least = pos
		}
	}
	return least
}

// fromMemory returns the next items of a leg that is behind, or errLog. No items and
// no error mean that the leg is live.
func (l *leg) fromMemory() ([]replay.Item, error) {
	items, live := l.fromHot()
	if !live && len(items) == 0 {
		return nil, errLog
	}
	l.reader = nil
	return items, nil
}

// read returns the next items of a leg that is behind: from the hot tail where
// that reaches back to the leg's position, else from the log. No items and no
// error mean that the leg is live.
func (l *leg) read(ctx context.Context) ([]replay.Item, error) {
	for {
		if items, err := l.fromMemory(); err == nil {
			return items, nil
		}
		if l.reader == nil {
			if err := l.begin(ctx); err != nil {
				return nil, err
			}
			continue // the hot tail may reach further back by now
		}
		items, err := l.reader.Next(ctx, batch)
		if err != nil {
			return nil, err
		}
		l.pump.answered()
		if len(items) == 0 {
			l.trusted = true
			l.advance(l.reader.Barrier(), true)
			l.reader, l.uneven = nil, false
			continue
		}
		l.trusted = true
		l.advance(items[len(items)-1].Position, true)
		if items = l.news(items); len(items) == 0 {
			continue
		}
		for _, it := range items {
			if it.Gap != nil {
				l.sub.node.metrics.gaps.WithLabelValues(string(it.Gap.Reason)).Inc()
			}
		}
		return items, nil
	}
}
