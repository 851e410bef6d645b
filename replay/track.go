package replay

import (
	"context"

	"github.com/tidemark/tidemark/streams"
)

// A Source is what a replay reads: a streams.Log, or something that answers for one.
type Source interface {
	After(ctx context.Context, room streams.Room, after, through streams.ID, limit int) ([]*streams.Event, error)
	Before(ctx context.Context, room streams.Room, before streams.ID, limit int) ([]*streams.Event, error)
}

// A Track is where the replay of one room begins.
type Track struct {
	Room streams.Room

	// Pos is the position up to which the client has all that it asked for.
	Pos streams.ID

	// Lax asks for whatever the log still has after Pos: what is missing before
	// the first event is not told.
	Lax bool

	// Unknown asks for the same, after a gap notice that says so.
	Unknown bool
}

// Locate returns where each room begins for a follow from start, of a log of n
// partitions. It reads the log only for the newest events that Last asks for;
// errors are the log's.
func Locate(ctx context.Context, log Source, n int, p streams.Partition, edges streams.Watermarks, rooms []streams.Room, start Start) ([]Track, error) {
	first := Track{Pos: streams.MakeID(0, 0, p)}
	switch start.kind {
	case fromNow, fromLast:
		first.Pos = edges.Last
	case fromEarliest:
		first.Lax = true
	case fromUnknown:
		first.Unknown = true
	case fromTime:
		first.Pos = streams.IDAt(start.at, p)
		if edges.Last.Before(first.Pos) {
			first.Pos = edges.Last // a moment still to come is now
		}
	case fromCursor:
		if pos, ok := start.Position(p, n); ok {
			first.Pos = pos
		} else {
			first.Unknown = start.cursor.beyond(n)
			first.Lax = !first.Unknown
		}
	}
	tracks := make([]Track, len(rooms))
	for i, room := range rooms {
		tracks[i] = first
		tracks[i].Room = room
		if start.kind == fromLast {
			newest, err := log.Before(ctx, room, edges.Last.Next(), start.last)
			if err != nil {
				return nil, err
			}
			if len(newest) > 0 {
				tracks[i].Pos = newest[0].Prev
			}
		}
	}
	return tracks, nil
}

// InitialPosition returns the position to hand out before the first item of a replay of
// tracks, at least one: a client that returns with it misses nothing.
func InitialPosition(tracks []Track) streams.ID {
	pos := tracks[0].Pos
	for _, t := range tracks[1:] {
		if t.Pos.Before(pos) {
			pos = t.Pos
		}
	}
	if tracks[0].Unknown && pos.IsZero() {
		return pos.Next() // not zero: returning with it must tell of the hole again
	}
	return pos
}
