package api

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// How long a client waits before it comes back: the base, and up to half as much
// again, so that those who left together do not return together.
const (
	retryNormal = 2 * time.Second // after an interruption
	retryAway   = 2 * time.Second // when the node is going: others are there
	retryOutage = 5 * time.Second // when the log is away: coming back at once would not help
)

// An encoder turns what one connection is told into SSE blocks, and knows the
// cursor that goes with each. It does no input or output, and is for one
// goroutine at a time.
type encoder struct {
	// wrapped puts the room around the data, for a follower of several rooms.
	wrapped bool
	// wide means that the rooms are of several partitions, so that the cursor is
	// of this connection alone and not the event's id.
	wide   bool
	cursor replay.Cursor // what the client has after all that was encoded
}

// newEncoder returns an encoder for a connection that starts at opening.
func newEncoder(wrapped bool, opening replay.Cursor) *encoder {
	return &encoder{
		wrapped: wrapped,
		wide:    len(opening.String()) > streams.IDLen,
		cursor:  opening,
	}
}

// open appends the first block: where the connection stands, before any replay.
func (e *encoder) open(b []byte, node string, rooms []streams.Room) []byte {
	b = appendRetry(b, retryNormal)
	b = append(b, "event: tidemark.open\n"...)
	b = e.id(b)
	return appendJSON(b, struct {
		Node  string         `json:"node"`
		Rooms []streams.Room `json:"rooms"`
	}{node, rooms})
}

// item appends the block of one item.
func (e *encoder) item(b []byte, it replay.Item) []byte {
	e.cursor = e.cursor.With(it.Position)
	if it.Gap != nil {
		return e.gap(b, it.Gap)
	}
	switch event := it.Event; {
	case e.wide || it.Position != event.ID: // the id line is this connection's own
		b = e.id(b)
		if e.wrapped {
			return append(b, event.Encoded(streams.SSEBody, wrappedBody)...)
		}
		return appendBody(b, event)
	case e.wrapped:
		return append(b, event.Encoded(streams.SSERooms, wrappedBlock)...)
	default:
		return append(b, event.Encoded(streams.SSERoom, block)...)
	}
}

// live appends the block that says that the replay is done.
func (e *encoder) live(b []byte, replayed int) []byte {
	b = append(b, "event: tidemark.live\n"...)
	b = e.id(b)
	b = append(b, `data: {"replayed":`...)
	b = strconv.AppendInt(b, int64(replayed), 10)
	return append(b, "}\n\n"...)
}

// position appends an id-only block, which a browser takes as its cursor without
// telling the page.
func (e *encoder) position(b []byte) []byte { return append(e.id(b), '\n') }

// gap appends the notice that events may be missing here.
func (e *encoder) gap(b []byte, g *replay.Gap) []byte {
	b = append(b, "event: tidemark.gap\n"...)
	b = e.id(b)
	b = append(b, "data: "...)
	b = append(b, '{')
	b = appendGap(b, g)
	return append(b, "}\n\n"...)
}

func (e *encoder) id(b []byte) []byte {
	b = append(b, "id: "...)
	b = append(b, e.cursor.String()...)
	return append(b, '\n')
}

// appendError appends a notice that something is wrong. It has no id: the client's
// cursor stays where it is.
func appendError(b []byte, p *problem) []byte {
	b = append(b, "event: tidemark.error\n"...)
	return appendJSON(b, struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{p.Code, p.Detail})
}

// appendComment appends what only keeps proxies awake.
func appendComment(b []byte) []byte { return append(b, ":\n\n"...) }

// appendRetry appends the line that tells the client how long to wait before it
// comes back.
func appendRetry(b []byte, base time.Duration) []byte {
	wait := base + rand.N(base/2)
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, wait.Milliseconds(), 10)
	return append(b, '\n')
}

// appendJSON appends the data line of v and ends the block.
func appendJSON(b []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers: can't happen
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, "\n\n"...)
}

// appendGap appends the members that both transports use to tell of a gap.
func appendGap(b []byte, g *replay.Gap) []byte {
	b = append(b, `"room":"`...)
	b = append(b, g.Room...)
	b = append(b, `","after":`...)
	b = appendQuotedID(b, g.After)
	b = append(b, `,"before":`...)
	b = appendQuotedID(b, g.Before)
	b = append(b, `,"reason":"`...)
	b = append(b, g.Reason...)
	return append(b, '"')
}

// The forms of an event that all connections share: see streams.Event.Encoded.

// block is a whole block for a follower of one room.
func block(e *streams.Event) []byte { return appendBody(appendEventID(nil, e), e) }

// wrappedBlock is a whole block for a follower of several rooms.
func wrappedBlock(e *streams.Event) []byte {
	return append(appendEventID(nil, e), wrappedBody(e)...)
}

// wrappedBody is the same without its id line.
func wrappedBody(e *streams.Event) []byte {
	b := appendType(nil, e)
	b = append(b, `data: {"room":"`...)
	b = append(b, e.Room...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	return append(b, "}\n\n"...)
}

// appendBody appends a block for a follower of one room, without its id line.
func appendBody(b []byte, e *streams.Event) []byte {
	b = appendType(b, e)
	b = append(b, "data: "...)
	b = append(b, e.Data...)
	return append(b, "\n\n"...)
}

func appendEventID(b []byte, e *streams.Event) []byte {
	b = append(b, "id: "...)
	b, _ = e.ID.AppendText(b) // never fails
	return append(b, '\n')
}

// appendType appends the event line, which the default type does without.
func appendType(b []byte, e *streams.Event) []byte {
	if e.Type == streams.DefaultType {
		return b
	}
	b = append(b, "event: "...)
	b = append(b, e.Type...)
	return append(b, '\n')
}
