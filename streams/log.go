package streams

import (
	"context"
	"errors"
	"time"
)

// Errors of a Log. Each tells the caller what to do.
var (
	// ErrUnavailable: the log could not be reached in time. What was appended may
	// or may not be stored; with a key, repeating it is safe.
	ErrUnavailable = errors.New("the log cannot be reached")

	// ErrRefused: the log answered and did not store the event (out of memory,
	// read only, a foreign value under the room's key). Nothing is stored and
	// nothing goes live. Repeating may help once the operator has acted.
	ErrRefused = errors.New("the log refused the event")

	// ErrKeyReused: the idempotency key was used before with other content.
	// Nothing is stored; repeating cannot help.
	ErrKeyReused = errors.New("the idempotency key was used with different content")

	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")

	// ErrMismatch: the log was created with other settings than it was opened
	// with. The text says which.
	ErrMismatch = errors.New("the log was created with other settings")
)

const (
	// DefaultKeyLife is how long a log remembers an idempotency key.
	DefaultKeyLife = 24 * time.Hour
	// DefaultTailLife is how long a room's tail record outlives its events.
	DefaultTailLife = 30 * 24 * time.Hour
)

// A Log keeps events in order and hands them on live. All methods may be called
// concurrently. Each honours its context, and returns within a time limit of the
// log's own even where the context has none.
//
// Obligations, which logtest checks:
//
//   - ids rise strictly within a partition, over all rooms and all nodes, whatever
//     clocks do, and pass every id that the log has ever handed out;
//   - an event is live only after it is logged, and is live for everyone whose
//     feed has joined its room, in the order of ids, and has its draft's Trace there;
//   - Prev of a room's next event is the id of the one before it, for as long as
//     the room's tail record stands, but never before Floor: so that a loss stays
//     provable after the floor has moved on to a later one. Of a room without a
//     tail record, it is the later of Floor and Horizon at that moment.
type Log interface {
	// Partitions is how many partitions the log has: 1 or more, fixed.
	Partitions() int

	// Append stores each draft and returns one receipt per draft, in their order.
	// Drafts of one partition are stored in their order in one atomic step, each
	// for itself: one that fails leaves the others alone. A nil Receipt.Err means
	// that the event is in the log, and at least as safe as its draft asks for. The
	// event may be live before it is that safe.
	// Errors: ErrUnavailable, ErrRefused, ErrKeyReused, ErrNotDurable,
	// ErrDurability, ErrClosed.
	Append(ctx context.Context, drafts []Draft) []Receipt

	// Watermarks returns what the log vouches for in partition p, at one moment. If
	// the log has noticed that it went back (it lost an event that this process
	// has seen in it), then the floor is raised before Watermarks answers.
	// Errors: ErrUnavailable, ErrClosed.
	Watermarks(ctx context.Context, p Partition, rooms []Room) (Watermarks, error)

	// After returns the events of the room with after < id <= through, oldest
	// first, at most limit. Fewer than limit means that there are no more now.
	// Events may have been trimmed: the first one's Prev says so.
	// Errors: ErrUnavailable, ErrClosed.
	After(ctx context.Context, room Room, after, through ID, limit int) ([]*Event, error)

	// Before returns the newest events of the room with id < before, oldest
	// first, at most limit. Errors as for After.
	Before(ctx context.Context, room Room, before ID, limit int) ([]*Event, error)

	// Feed opens the live side of partition p. It never fails: a feed that
	// cannot reach the log keeps trying.
	Feed(p Partition) Feed

	// Ping reports whether the log can take and answer requests now.
	Ping(ctx context.Context) error

	// Close ends all feeds, waits for every goroutine of the log, and releases it.
	Close() error
}

// Watermarks says what a partition's log vouches for. Positions are all of that partition.
type Watermarks struct {
	// Last is the newest id of the partition. Everything logged so far is at or
	// before it; everything logged later is after it.
	Last ID

	// Floor is the position from which on the log vouches for everything. A
	// cursor before it may have missed events that the log has lost.
	Floor ID

	// UnrecordedBefore matters to rooms without a tail record: events of such a room at
	// or before it may have come and gone without a trace. It is never after
	// Last, for nothing has been logged since.
	UnrecordedBefore ID

	// LostAfter says where the loss began that Floor is about: the log may have lost
	// events after it, and others may have been logged between it and the floor
	// before the loss was noticed. Never after Floor; zero means that the log has
	// no such tale to tell.
	LostAfter ID

	// Tails has each room's newest id, in the order asked for; zero where there
	// is no record.
	Tails []ID
}

// Base is the position from which a room without a tail record is complete,
// and the Prev of its next event.
func (e Watermarks) Base() ID { return Later(e.Floor, e.UnrecordedBefore) }

// CompleteAt is the position from which on whoever stands there has all of the i-th
// room that there was: its newest id or, where there is no record, the origin; and
// never before the floor.
func (e Watermarks) CompleteAt(i int) ID {
	if e.Tails[i].IsZero() {
		return e.Base()
	}
	return Later(e.Tails[i], e.Floor)
}

// A Feed is the live side of one partition, for one reader of Signals. Join and
// Leave may be called from any goroutine and never block.
//
// After the Signal that a room is Joined, every event of it that is logged later
// arrives as a Signal, in the order of ids over all joined rooms, until the room
// is left or the feed is Lost. Events logged before that must be read from the
// log. After Lost no room is joined; the feed reconnects by itself, for ever, and
// announces each room again. Events of a room that was just left, or is not yet
// announced, may arrive: ignore them.
//
// Signals is bounded. A reader that falls behind sees Lost, never a silent hole.
type Feed interface {
	// Join asks for a room. ticket comes back with each announcement, so that
	// the reader can tell this Join from an earlier one that was left since: a
	// Joined signal with this ticket means that the room has been subscribed
	// without a break from some moment after this call.
	Join(room Room, ticket uint64)
	Leave(room Room)
	Messages() <-chan FeedMessage // closed after Close
	Close()                 // waits for the feed's goroutines
}

// A FeedMessage is one thing that a feed has to say: exactly one of Event, Joined and
// Lost is set.
type FeedMessage struct {
	Event  *Event
	Joined Room
	Ticket uint64 // goes with Joined
	Lost   bool
}
