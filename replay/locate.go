package replay

import (
	"context"

	"github.com/tidemark/tidemark/streams"
)

// A RoomStart is the position where the replay of one room begins.
type RoomStart struct {
	Room streams.Room

	// Pos is the position up to which the client has every event that it asked for.
	Pos streams.ID

	// FromOldest starts with the oldest event after Pos that the log keeps. It gives no
	// gap notice for events before that one.
	FromOldest bool

	// Unknown does the same, after a gap notice with the reason UnknownCursor.
	Unknown bool
}

// LastBytes bounds the data of the events of a room that Last starts with, except that one
// event may exceed it.
const LastBytes = 1 << 20

// Locate returns where each room begins for a follow from start, in partition p of a log of
// n partitions. It reads the log only if start is Last. Errors are the log's.
func Locate(ctx context.Context, log Source, n int, p streams.Partition, w streams.Watermarks, rooms []streams.Room, start Start) ([]RoomStart, error) {
	first := RoomStart{Pos: streams.MakeID(0, 0, p)}
	switch start.kind {
	case fromNow, fromLast:
		first.Pos = w.Last
	case fromEarliest:
		first.FromOldest = true
	case fromUnknown:
		first.Unknown = true
	case fromTime:
		first.Pos = streams.IDAt(start.at, p)
		if w.Last.Before(first.Pos) {
			first.Pos = w.Last // a time in the future means now
		}
	case fromCursor:
		if pos, ok := start.Position(p, n); ok {
			first.Pos = pos
		} else {
			first.Unknown = start.cursor.beyond(n)
			first.FromOldest = !first.Unknown
		}
	}
	starts := make([]RoomStart, len(rooms))
	for i, room := range rooms {
		starts[i] = first
		starts[i].Room = room
		if start.kind == fromLast {
			newest, err := log.Before(ctx, room, w.Last.Next(), streams.ReadLimit{Events: start.last, Bytes: LastBytes})
			if err != nil {
				return nil, err
			}
			if len(newest.Events) > 0 {
				starts[i].Pos = newest.Events[0].Prev
			}
		}
	}
	return starts, nil
}

// InitialPosition returns the cursor to send before the first item of a replay from starts,
// which must not be empty. A client that returns with it misses nothing.
func InitialPosition(starts []RoomStart) streams.ID {
	pos := starts[0].Pos
	for _, s := range starts[1:] {
		if s.Pos.Before(pos) {
			pos = s.Pos
		}
	}
	if starts[0].Unknown && pos.IsZero() {
		return pos.Next() // zero would mean Earliest, which gives no gap notice
	}
	return pos
}
