package api

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// How long a client waits before it comes back: the base, and up to half as much
// again, so that those who left together do not return together.
const (
	retryNormal = 2 * time.Second // after an interruption
	retryAway   = 2 * time.Second // when the node is going: others are there
	retryOutage = 5 * time.Second // when the log is away, or the node full: coming back at once would not help

	// when the client's own others have to go first: a place whose node died comes
	// free after half a minute, and tabs that a user has left open do not soon
	retryTooMany = 10 * time.Second
)

// An encoder turns what one connection is told into SSE blocks, and knows the
// cursor that goes with each. It does no input or output, and is for one
// goroutine at a time.
//
// A block's id line is its last. A client must forget a block of which only half
// has come, but some remember its id (@microsoft/fetch-event-source and
// r3labs/sse do) and would come back with it, having lost the event: tests/clients.
type encoder struct {
	// wrapped puts the room around the data, for a follower of several rooms.
	wrapped bool
	// wide means that the rooms are of several partitions, so that the cursor is
	// of this connection alone and not the event's id.
	wide bool

	// What the client has after all that was encoded: pos if it is of one partition.
	cursor replay.Cursor
	pos    streams.ID
}

// newEncoder returns an encoder for a connection that starts at opening.
func newEncoder(wrapped bool, opening replay.Cursor) *encoder {
	e := &encoder{wrapped: wrapped, wide: len(opening.IDs()) > 1}
	e.moved(opening)
	return e
}

// moved takes a cursor that is further than the last item's.
func (e *encoder) moved(c replay.Cursor) {
	if e.wide {
		e.cursor = c
	} else {
		e.pos = c.IDs()[0]
	}
}

// open appends the first block: where the connection stands, before any replay.
func (e *encoder) open(b []byte, node string, rooms []streams.Room) []byte {
	b = appendRetry(b, retryNormal)
	b = append(b, "event: tidemark.open\n"...)
	b = appendJSON(b, struct {
		Node  string         `json:"node"`
		Rooms []streams.Room `json:"rooms"`
	}{node, rooms})
	return e.position(b)
}

// item appends the block of one item.
func (e *encoder) item(b []byte, it replay.Item) []byte {
	if e.wide {
		e.cursor = e.cursor.With(it.Position)
	} else {
		e.pos = it.Position
	}
	if it.Gap != nil {
		return e.gap(b, it.Gap)
	}
	switch event := it.Event; {
	case e.wide || it.Position != event.ID: // the id line is this connection's own
		if e.wrapped {
			return e.position(append(b, event.Encoded(streams.SSEBody, wrappedBody)...))
		}
		return e.position(appendBody(b, event))
	case e.wrapped:
		return append(b, event.Encoded(streams.SSERooms, wrappedBlock)...)
	default:
		return append(b, event.Encoded(streams.SSERoom, block)...)
	}
}

// live appends the block that says that the replay is done.
func (e *encoder) live(b []byte, replayed int) []byte {
	b = append(b, `event: tidemark.live
data: {"replayed":`...)
	b = strconv.AppendInt(b, int64(replayed), 10)
	return e.position(append(b, "}\n"...))
}

// position appends the id line that ends a block. Alone it is a block too, which
// a browser takes as its cursor without telling the page.
func (e *encoder) position(b []byte) []byte {
	b = append(b, "id: "...)
	if e.wide {
		b = append(b, e.cursor.String()...)
	} else {
		b, _ = e.pos.AppendText(b) // never fails
	}
	return append(b, "\n\n"...)
}

// gap appends the notice that events may be missing here.
func (e *encoder) gap(b []byte, g *replay.Gap) []byte {
	b = append(b, "event: tidemark.gap\ndata: {"...)
	b = appendGap(b, g)
	return e.position(append(b, "}\n"...))
}

// appendError appends a notice that something is wrong. It has no id: the client's
// cursor stays where it is.
func appendError(b []byte, p *problem.Document) []byte {
	b = append(b, "event: tidemark.error\n"...)
	b = appendJSON(b, struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{p.Code, p.Detail})
	return append(b, '\n')
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

// appendJSON appends the data line of v.
func appendJSON(b []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers: can't happen
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, '\n')
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
func block(e *streams.Event) []byte { return appendEventID(appendBody(nil, e), e) }

// wrappedBlock is a whole block for a follower of several rooms.
func wrappedBlock(e *streams.Event) []byte { return appendEventID(wrappedBody(e), e) }

// wrappedBody is the same without its id line.
func wrappedBody(e *streams.Event) []byte {
	b := appendType(nil, e)
	b = append(b, `data: {"room":"`...)
	b = append(b, e.Room...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	return append(b, "}\n"...)
}

// appendBody appends a block for a follower of one room, without its id line.
func appendBody(b []byte, e *streams.Event) []byte {
	b = appendType(b, e)
	b = append(b, "data: "...)
	b = append(b, e.Data...)
	return append(b, '\n')
}

// appendEventID appends the id line that ends a block.
func appendEventID(b []byte, e *streams.Event) []byte {
	b = append(b, "id: "...)
	b, _ = e.ID.AppendText(b) // never fails
	return append(b, "\n\n"...)
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
