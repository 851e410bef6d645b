package streams

import (
	"context"
	"errors"
	"time"
)

// Errors of a Log.
var (
	// ErrUnavailable: the log did not answer in time. An appended event may or may not be
	// stored. With a key, the caller may repeat the append.
	ErrUnavailable = errors.New("the log cannot be reached")

	// ErrRefused: the log answered but did not store the event. It is out of memory or
	// read-only, or it holds a foreign value under the room's key. Nothing is stored and
	// nothing goes live. Repeating may help once the operator has fixed the cause.
	ErrRefused = errors.New("the log refused the event")

	// ErrKeyReused: the idempotency key was used before with other content. Nothing is
	// stored, and repeating does not help.
	ErrKeyReused = errors.New("the idempotency key was used with different content")

	// ErrNewRoom: the draft is for existing rooms only, and its room does not exist.
	// Nothing is stored.
	ErrNewRoom = errors.New("the room does not exist, and the draft must not create one")

	// ErrClosed: the log was closed.
	ErrClosed = errors.New("the log is closed")

	// ErrMismatch: the log was opened with other settings than it was created with. The
	// error's text names them.
	ErrMismatch = errors.New("the log was created with other settings")
)

const (
	// DefaultKeyLife is how long a log remembers an idempotency key.
	DefaultKeyLife = 24 * time.Hour
	// DefaultTailLife is how long a log keeps a room's tail record after its last event.
	DefaultTailLife = 30 * 24 * time.Hour
)

// A Log keeps events in order and delivers them live. All methods may be called
// concurrently. Each stops when its context ends, and also has a time limit of its own.
//
// An implementation must pass logtest, which checks these obligations:
//
//   - Ids rise strictly within a partition, over all rooms and nodes, even if clocks go
//     back. A new id is greater than every id that the log has ever assigned.
//   - An event is live only after it is logged. It is live on every feed that has joined
//     its room, in the order of ids, and with its draft's Trace.
//   - Prev is the id of the room's previous event, if the room's tail record still exists,
//     but never before Floor. So a loss stays provable after a later loss has moved the
//     floor. In a room without a tail record, Prev is the later of Floor and
//     UnrecordedBefore at that moment.
type Log interface {
	// Partitions returns the number of partitions, at least 1. It never changes.
	Partitions() int

	// Append stores each draft and returns one receipt per draft, in their order. It
	// stores the drafts of one partition in one atomic step and in their order. A draft
	// that fails does not affect the others. A nil Receipt.Err means that the event is in
	// the log and has at least its draft's durability. The event may be live earlier.
	// Errors: ErrUnavailable, ErrRefused, ErrKeyReused, ErrNewRoom,
	// ErrNotDurable, ErrDurability, ErrClosed.
	Append(ctx context.Context, drafts []Draft) []Receipt

	// Watermarks returns the watermarks of partition p and the tails of rooms, at one
	// moment. If the log notices that it lost an event that this process has seen, it
	// raises the floor before Watermarks returns.
	// Errors: ErrUnavailable, ErrClosed.
	Watermarks(ctx context.Context, p Partition, rooms []Room) (Watermarks, error)

	// After returns the oldest events of the room with after < id <= through, in order, as
	// far as limit allows. If events after the position after were trimmed, the Prev of
	// the first event returned shows it.
	// Errors: ErrUnavailable, ErrClosed.
	After(ctx context.Context, room Room, after, through ID, limit ReadLimit) (Page, error)

	// Before returns the newest events of the room with id < before, in order, as far as
	// limit allows. Its errors are those of After.
	Before(ctx context.Context, room Room, before ID, limit ReadLimit) (Page, error)

	// Feed opens the live side of partition p. It never fails: a feed that cannot reach
	// the log keeps trying.
	Feed(p Partition) Feed

	// Ping returns nil if the log can serve requests now.
	Ping(ctx context.Context) error

	// Close ends all feeds, waits for every goroutine of the log, and releases it.
	Close() error
}

// A ReadLimit bounds one read of a room's events, so that the caller knows what the answer
// costs before it asks.
type ReadLimit struct {
	// Events is the most events to return. Less than 1 returns none.
	Events int
	// Bytes is the most bytes of data to return. The first event of the answer may exceed
	// them, because a page without events would not help the caller.
	//
	// Besides the page, a log holds at most four times Bytes while it reads, or 2 MiB if that
	// is more. All reads of a log together may hold 32 MiB above these bounds. The bounds hold
	// for events of up to DefaultMaxData, and for larger ones once the log has read one.
	Bytes int
	// WithoutData leaves Data of each event nil, and Bytes does not count. It is for callers
	// that need only positions.
	WithoutData bool
}

// A Page is the answer to one read of a room's events.
type Page struct {
	Events []*Event // oldest first
	// More says that the read ended at its limit. If it is false, the room has no further
	// event within the bounds of the read. It is true after exactly ReadLimit.Events
	// events, and then perhaps no event follows.
	More bool
}

// Watermarks are the positions that say which events of a partition the log certainly has.
// All are positions of that partition.
type Watermarks struct {
	// Last is the newest id of the partition. Every event logged so far is at or before it,
	// and every later event is after it.
	Last ID

	// Floor is the position after which the log has lost no event. A client with a cursor
	// before it may have missed lost events.
	Floor ID

	// UnrecordedBefore concerns rooms without a tail record. Such a room may have had events
	// at or before this position, and no record of them remains. It is never after Last.
	UnrecordedBefore ID

	// LostAfter is where the loss began that raised Floor. The log may have lost events
	// after it. Other events may have been logged between it and Floor, before the loss was
	// noticed. It is never after Floor. Zero means that the log does not know.
	LostAfter ID

	// Tails has the newest id of each requested room, in their order. Zero means that the
	// room has no tail record.
	Tails []ID
}

// Base returns the lowest position at which a client has every event of a room without a
// tail record. It is also the Prev of that room's next event.
func (w Watermarks) Base() ID { return Later(w.Floor, w.UnrecordedBefore) }

// CompleteAt returns the lowest position at which a client has every event of the i-th room.
// It is the room's newest id, or Base without a tail record, and never before Floor.
func (w Watermarks) CompleteAt(i int) ID {
	if w.Tails[i].IsZero() {
		return w.Base()
	}
	return Later(w.Tails[i], w.Floor)
}

// A Feed is the live side of one partition, for one reader of Messages. Join and Leave may be
// called from any goroutine and never block.
//
// After a Joined message for a room, every event of the room that is logged later arrives as
// a message. Events arrive in the order of ids over all joined rooms, until the room is left
// or the feed is Lost. Events logged before must be read from the log. After Lost no room is
// joined. The feed reconnects on its own, retries without end, and sends Joined for each room
// again. Events of a room that was just left or is not joined yet may arrive: ignore them.
//
// The buffer of Messages is bounded. A reader that falls behind receives Lost, so it never
// misses events without knowing.
type Feed interface {
	// Join requests a room. A Joined message with this ticket means that the room has been
	// subscribed without interruption since some moment after this call. The ticket tells
	// this Join from an earlier one of the same room.
	Join(room Room, ticket uint64)
	Leave(room Room)
	Messages() <-chan FeedMessage // closed after Close
	Close()                       // waits for the feed's goroutines
}

// A FeedMessage is one message of a feed. Exactly one of Event, Joined and Lost is set.
type FeedMessage struct {
	Event  *Event
	Joined Room
	Ticket uint64 // of the Join, with Joined
	Lost   bool
}
