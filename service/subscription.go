package service

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A Subscription follows rooms for one connection. It holds a cursor and a bounded queue,
// and has no goroutine: it notifies its owner, who takes the items with Ready or Next. If
// the queue overflows, it is dropped, and its events are read from the log by the code
// that also serves a returning client.
//
// Ready, Next, Encoded, Shed, Position and Close must be called by one goroutine at a time,
// the connection's writer. Outage may be called by any.
type Subscription struct {
	// Fixed by Node.Subscribe.
	opts    *Options
	metrics *metrics
	memory  *memory
	parts   []*partitionSub // one per partition, in partition order
	notify  func()
	initial replay.Cursor

	// Owned by the writer.
	replayed   int          // events given so far, until the replay is done
	replayDone bool         // Batch.ReplayDone was reported
	turn       int          // the part that is read first
	queueLast  bool         // the previous batch came from the queue
	turnBytes  int64        // replay memory that the subscription has acquired; 0 for none
	turnBegan  time.Time    // when it acquired that
	request    *turnRequest // for replay memory; nil without one

	// offer uses mu, notified, closed and the start of queue for every event. They share a
	// cache line, because a room may have tens of thousands of subscriptions.
	mu       sync.Mutex // guards the fields below, and the fields of parts that say so
	notified bool       // notify was called, or need not be: the writer will ask again
	closed   bool
	queue    queue
}

// A Batch is the next part of a subscription's items.
type Batch struct {
	Items []replay.Item // valid until the next call of Ready, Next or Position

	// ReplayDone says that the replay is complete after these items, and Replayed how
	// many events it had. A subscription reports this once.
	Replayed   int
	ReplayDone bool

	// Live says that the items came live, not from a replay.
	Live bool

	// More asks the caller to take again: notify is not called for the next items.
	More bool
}

// Empty reports whether the batch has nothing to send.
func (b Batch) Empty() bool { return len(b.Items) == 0 && !b.ReplayDone }

// InitialCursor returns the cursor to send before the first item.
func (s *Subscription) InitialCursor() replay.Cursor { return s.initial }

// Outage returns the number of the current outage of the log, if it concerns the
// subscription's rooms, and 0 while the log answers. Each outage has a new number. Events
// in the node's memory are delivered during an outage, and the rest after it. notify is
// called when an outage begins.
func (s *Subscription) Outage() uint64 {
	for _, ps := range s.parts {
		if id := ps.partition.health.outage(); id != 0 {
			return id
		}
	}
	return 0
}

// errNotInMemory reports that the next items have to be read from the log.
var errNotInMemory = errors.New("the next items are not in memory")

// Encoded says that the caller does not need the items of the last batch any more. Calling
// it early frees memory for the replays of other connections.
func (s *Subscription) Encoded() {
	if s.turnBytes > 0 && !s.readsAhead() {
		s.endTurn()
	}
}

// Shed frees the memory of a connection whose client does not read: the queue, and the
// events that were read ahead. They are read again later. The caller must not be in another
// call of the writer's.
func (s *Subscription) Shed() {
	s.mu.Lock()
	if !s.closed {
		s.overflowLocked()
		s.notifyLocked()
	}
	s.mu.Unlock()
	s.endRequest()
	s.endTurn()
}

// takeTurn acquires the memory for the subscription's reads of the log, unless it has it. A
// subscription that has had it for long gives it up first, if others wait. Without enough
// memory, takeTurn queues, once, and returns ErrBusy; notify is called when it is the
// subscription's turn.
func (s *Subscription) takeTurn() error {
	if s.turnBytes > 0 && s.memory.contended() && time.Since(s.turnBegan) > turnLength {
		s.endTurn()
	}
	switch {
	case s.turnBytes > 0:
		return nil
	case s.request != nil:
		if s.turnBytes = s.request.take(); s.turnBytes == 0 {
			return ErrBusy
		}
		s.endRequest()
	default:
		need := 0
		for _, ps := range s.parts {
			need += replay.HeldBytes(len(ps.rooms))
		}
		if s.turnBytes = s.memory.tryAcquire(int64(need)); s.turnBytes == 0 {
			s.request = s.memory.request(int64(need), s.notify)
			return ErrBusy
		}
	}
	s.turnBegan = time.Now()
	return nil
}

// idleUntilTurn arms notify for live items while a part waits for its turn. It returns false
// if there are some already.
func (s *Subscription) idleUntilTurn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue.items) > 0 {
		return false
	}
	s.notified = false
	return true
}

// endRequest leaves the queue for replay memory.
func (s *Subscription) endRequest() {
	if s.request == nil {
		return
	}
	if n := s.request.end(); n > 0 {
		s.memory.release(n)
	}
	s.request = nil
}

// AwaitsTurn reports whether the subscription waits for replay memory.
func (s *Subscription) AwaitsTurn() bool { return s.request != nil }

// endTurn drops the events that were read ahead, and gives up the memory.
func (s *Subscription) endTurn() {
	for _, ps := range s.parts {
		if ps.reader != nil {
			ps.reader.Drop()
		}
	}
	if s.turnBytes > 0 {
		s.memory.release(s.turnBytes)
		s.turnBytes = 0
	}
}

// endTurnAfterReplay gives up the memory if nothing is read from the log any more.
func (s *Subscription) endTurnAfterReplay() {
	if s.turnBytes > 0 && !slices.ContainsFunc(s.parts, func(ps *partitionSub) bool { return ps.reader != nil }) {
		s.endTurn()
	}
}

// readsAhead reports whether events were read from the log that no batch has had yet.
func (s *Subscription) readsAhead() bool {
	return slices.ContainsFunc(s.parts, func(ps *partitionSub) bool { return ps.reader != nil && ps.reader.Holds() })
}

// Ready returns the next batch as Next does, but never waits. If the log has to be read,
// it returns false and changes nothing: call Next.
func (s *Subscription) Ready() (b Batch, ok bool) {
	turn, queueLast := s.turn, s.queueLast
	b, err := s.next((*partitionSub).nextFromMemory)
	if err != nil {
		s.turn, s.queueLast = turn, queueLast
	}
	return b, err == nil
}

// Next returns the next items, at most a few hundred. An empty batch means that there are
// none now. Unless the batch has More, notify is called when there are items again. Next
// waits only for the log, and no longer than ctx. After an error, which is the log's, ctx's
// or ErrBusy, no item is lost and Next may be called again. After ErrBusy, notify is called
// when there is memory for the replay, or a live item.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	return s.next(func(ps *partitionSub) ([]replay.Item, error) { return ps.next(ctx) })
}

// next returns the queued items, or the items that read returns for a part that is behind.
func (s *Subscription) next(read func(*partitionSub) ([]replay.Item, error)) (Batch, error) {
	s.Encoded() // the last batch is not used any more
	for {
		items, behind, armed := s.take()
		queued := len(items) > 0
		for i := 0; i < len(behind) && len(items) == 0; i++ {
			var err error
			if items, err = read(behind[i]); errors.Is(err, ErrBusy) && !s.idleUntilTurn() {
				break // take returns the queue now
			}
			if err != nil {
				return Batch{}, err
			}
		}
		b := Batch{Items: items, Live: queued, More: !armed}
		if !s.replayDone {
			s.countReplayed(&b)
		}
		if !b.Empty() || len(behind) == 0 {
			s.endTurnAfterReplay()
			return b, nil
		}
		// Every part was live for a moment. Only take finds out whether all still are,
		// and arms notify.
	}
}

// countReplayed counts the events of the replay, and reports once that it is done.
func (s *Subscription) countReplayed(b *Batch) {
	for _, it := range b.Items {
		if it.Event != nil {
			s.replayed++
		}
	}
	if s.allLive() {
		s.replayDone = true
		b.ReplayDone, b.Replayed = true, s.replayed
	}
}

// take returns the queued items, or the parts that are behind, starting with another one
// each time. If both exist they alternate, so that a busy partition does not starve the
// others. If neither exists, take arms notify and says so.
func (s *Subscription) take() (items []replay.Item, behind []*partitionSub, armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.parts {
		if ps := s.parts[(s.turn+i)%len(s.parts)]; ps.state != live {
			behind = append(behind, ps)
		}
	}
	s.turn++
	if len(s.queue.items) > 0 && (len(behind) == 0 || !s.queueLast || s.gapFirstLocked()) {
		s.queueLast = true
		s.notified = behind != nil
		return s.takeQueueLocked(), nil, !s.notified
	}
	s.queueLast = false
	s.notified = behind != nil // it is false after ErrBusy
	if behind == nil {
		s.queue.shrink()
	}
	return nil, behind, !s.notified
}

// gapFirstLocked reports whether a gap notice is queued for a part that is behind. It
// must be sent before the events that the log has for that part.
func (s *Subscription) gapFirstLocked() bool {
	return slices.ContainsFunc(s.queue.items, func(it replay.Item) bool { return s.partOf(it.Position).state != live })
}

// takeQueueLocked empties the queue and moves the parts past its items.
func (s *Subscription) takeQueueLocked() []replay.Item {
	items := s.queue.take()
	for i := range items {
		ps := s.partOf(items[i].Position)
		items[i].Position = streams.Later(items[i].Position, ps.pos)
		ps.pos = items[i].Position
		ps.gaps.record(items[i], ps.pos)
	}
	return items
}

func (s *Subscription) allLive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.parts, func(ps *partitionSub) bool { return ps.state != live })
}

// partOf returns the part of a position's partition.
func (s *Subscription) partOf(id streams.ID) *partitionSub {
	for _, ps := range s.parts {
		if ps.partition.id == id.Partition() {
			return ps
		}
	}
	panic("service: an item of a partition that the subscription does not follow")
}

// enqueueLocked queues an item and notifies the writer.
func (s *Subscription) enqueueLocked(it replay.Item) {
	if it.Gap != nil {
		s.metrics.countGap(it.Gap)
	}
	s.queue.add(it)
	if s.queue.full(s.opts.Queue) {
		s.overflowLocked()
	}
	s.notifyLocked()
}

// overflowLocked drops the queue. Every live part continues with a replay, after the last
// item that was taken. The cost of a slow reader is its own reads of the log.
func (s *Subscription) overflowLocked() {
	s.metrics.overflows.Inc()
	// Late gap notices stay, because a replay from the last item taken would not find
	// them. They are few: one per lost frame.
	s.queue.items = slices.DeleteFunc(s.queue.items, func(it replay.Item) bool {
		return s.partOf(it.Place).pos.Before(it.Place)
	})
	for i := range s.queue.items {
		s.queue.items[i].Position = s.partOf(s.queue.items[i].Place).pos
	}
	s.queue.bytes = 0
	for _, ps := range s.parts {
		ps.overflowLocked()
	}
}

func (s *Subscription) notifyLocked() {
	if !s.notified {
		s.notified = true
		s.notify()
	}
}

// wake notifies the writer although there may be no item.
func (s *Subscription) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.notifyLocked()
	}
}

// Position returns a cursor up to which nothing is missing. It may be further than the
// last item's. ok is false while there are items to take, because the cursor must not
// pass an unsent event.
func (s *Subscription) Position() (c replay.Cursor, ok bool) {
	// Events offered up to these positions were queued before. If the queue is empty
	// afterwards, they were taken.
	offered := make([]streams.ID, len(s.parts))
	for i, ps := range s.parts {
		offered[i] = ps.offeredTo()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue.items) > 0 {
		return replay.Cursor{}, false
	}
	s.queue.shrink()
	ids := make([]streams.ID, len(s.parts))
	for i, ps := range s.parts {
		if ps.state != live {
			return replay.Cursor{}, false
		}
		ps.pos = streams.Later(ps.pos, offered[i])
		ps.queued = streams.Later(ps.queued, ps.pos)
		ids[i] = ps.pos
	}
	return replay.CursorAt(ids...), true
}

// Close ends the subscription. After Close returns, notify is not called any more.
func (s *Subscription) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.endRequest()
	s.endTurn()
	for _, ps := range s.parts {
		ps.leave()
	}
	s.metrics.subscriptions.Dec()
}
