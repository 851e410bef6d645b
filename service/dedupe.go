package service

import (
	"slices"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// openGaps are the gap notices that a connection has received while its cursor is still
// before the end of the gap. A gap notice is sent where its hole begins, and the cursor
// passes the hole only after every remaining event before its end was sent. Until then
// the same notice may arrive once more, from a replay after an overflow or from the pump.
type openGaps []openGap

type openGap struct {
	room streams.Room
	end  streams.ID
}

// contains reports whether it is a gap notice that the connection has received.
func (g openGaps) contains(it replay.Item) bool {
	return it.Gap != nil && slices.Contains(g, openGap{it.Gap.Room, it.Place})
}

// record notes that the connection receives it and that its cursor is then pos. It
// forgets the gaps that the cursor has passed.
func (g *openGaps) record(it replay.Item, pos streams.ID) {
	if len(*g) > 0 {
		*g = slices.DeleteFunc(*g, func(o openGap) bool { return !pos.Before(o.end) })
	}
	if it.Gap != nil && pos.Before(it.Place) && !g.contains(it) {
		*g = append(*g, openGap{it.Gap.Room, it.Place})
	}
}

// dedupe drops the gap notices that the connection has received, and records the rest.
func (g *openGaps) dedupe(items []replay.Item, pos streams.ID) []replay.Item {
	items = slices.DeleteFunc(items, g.contains)
	for _, it := range items {
		g.record(it, pos)
	}
	return items
}

// lateGap returns the gap notice to send instead of an item that lies before a position
// that the connection was already given. The feed lost frames of one room, the pump found
// out only now, and the connection has received later events of its other rooms. Sending
// the event would break the order and move the cursor back; a gap notice does neither.
func lateGap(it replay.Item, given streams.ID) replay.Item {
	gap := it.Gap
	if e := it.Event; e != nil {
		gap = &replay.Gap{Room: e.Room, After: e.Prev, Before: e.ID.Next(), Reason: replay.UnknownCursor}
	}
	return replay.Item{Gap: gap, Place: it.Place, Position: given}
}
