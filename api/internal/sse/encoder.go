package sse

import (
	"strconv"

	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// An encoder turns the items of one stream into SSE blocks, each with the client's cursor
// after it. It does no input or output. One goroutine at a time may use it.
//
// The id line of a block comes last. A client must discard a block of which only a part
// arrived, but some keep its id (@microsoft/fetch-event-source and r3labs/sse do, see
// tests/clients). They would resume after an event that they never had.
type encoder struct {
	// wrapped adds the room to the data, for a stream of several rooms.
	wrapped bool
	// wide means that the rooms are in several partitions. Then the cursor is this
	// stream's own, not the id of an event.
	wide bool

	// The client's cursor after everything that was encoded: pos unless wide.
	cursor replay.Cursor
	pos    streams.ID
}

// newEncoder returns an encoder for a stream that starts at initial.
func newEncoder(wrapped bool, initial replay.Cursor) *encoder {
	e := &encoder{wrapped: wrapped, wide: len(initial.IDs()) > 1}
	e.advance(initial)
	return e
}

// advance moves the cursor past that of the last item.
func (e *encoder) advance(c replay.Cursor) {
	if e.wide {
		e.cursor = c
	} else {
		e.pos = c.IDs()[0]
	}
}

// open appends the first block, with the cursor before any replay.
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
	case e.wide || it.Position != event.ID: // the id line is this stream's own
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

// live appends the block that ends the replay.
func (e *encoder) live(b []byte, replayed int) []byte {
	b = append(b, `event: tidemark.live
data: {"replayed":`...)
	b = strconv.AppendInt(b, int64(replayed), 10)
	return e.position(append(b, "}\n"...))
}

// position appends the id line that ends a block. Alone it is a block too, from which a
// browser takes its cursor without an event for the page.
func (e *encoder) position(b []byte) []byte {
	b = append(b, "id: "...)
	if e.wide {
		b = append(b, e.cursor.String()...)
	} else {
		b, _ = e.pos.AppendText(b) // never fails
	}
	return append(b, "\n\n"...)
}

// gap appends a gap notice.
func (e *encoder) gap(b []byte, g *replay.Gap) []byte {
	b = append(b, "event: tidemark.gap\ndata: {"...)
	b = wire.AppendGap(b, g)
	return e.position(append(b, "}\n"...))
}
