package replay

import "github.com/tidemark/tidemark/streams"

// A Reason says why events may be missing.
type Reason string

// The reasons of a gap notice.
const (
	Trimmed       Reason = "trimmed" // the room's limit on events dropped them
	Expired       Reason = "expired" // they grew older than the room keeps events
	Reset         Reason = "reset"   // the log lost its newest events, or the cursor is of another log
	UnknownCursor Reason = "unknown" // the cursor could not be read
)

// A Gap says that events of Room may be missing: those with After < id < Before.
type Gap struct {
	Room          streams.Room
	After, Before streams.ID
	Reason        Reason
}

// An Item is an event or a gap notice, for one client.
type Item struct {
	Event *streams.Event // nil for a gap notice
	Gap   *Gap           // nil for an event

	// Place is the item's position: the event's id, or the end of the gap.
	Place streams.ID

	// Position is the client's cursor after this item. After a gap notice it stays before
	// Place while events of other rooms before Place remain. So a client that disconnects
	// in between receives the notice again, and misses none of these events.
	Position streams.ID
}
