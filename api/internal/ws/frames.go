package ws

import (
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// appendFrame appends an unmasked frame that is a whole message, as a server sends it
// (RFC 6455, section 5.2).
func appendFrame(b []byte, opcode int, payload []byte) []byte {
	b = append(b, 0x80|byte(opcode)) // FIN
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

// A frame is the payload of a text frame under construction: a JSON object without its
// closing brace. docs/protocol.md describes the frames.
type frame []byte

func newFrame(op string) frame { return append(frame(`{"op":"`), op+`"`...) }

// room adds the room, whose characters need no escaping.
func (f frame) room(r streams.Room) frame {
	f = append(f, `,"room":"`...)
	f = append(f, r...)
	return append(f, '"')
}

func (f frame) id(id streams.ID) frame {
	return wire.AppendID(append(f, `,"id":`...), id)
}

func (f frame) cursor(c string) frame {
	f = append(f, `,"cursor":"`...)
	f = append(f, c...)
	return append(f, '"')
}

// durability adds the level that an event has reached, if it has one.
func (f frame) durability(d streams.Durability) frame {
	if d == 0 {
		return f
	}
	return f.text("durability", d.String())
}

// text adds a string member with any value.
func (f frame) text(name, value string) frame {
	quoted, err := json.Marshal(value)
	if err != nil {
		panic(err) // cannot happen with a string
	}
	f = append(f, `,"`+name+`":`...)
	return append(f, quoted...)
}

// end adds the client's ref, if it gave one, and closes the object.
func (f frame) end(ref json.RawMessage) []byte {
	if len(ref) > 0 {
		f = append(f, `,"ref":`...)
		f = append(f, ref...)
	}
	return append(f, '}')
}

// eventFrame is the encoding of an event that all sessions share, with the frame's head: see
// streams.Event.Encoded.
func eventFrame(e *streams.Event) []byte {
	f := newFrame("event").room(e.Room).id(e.ID).text("type", e.Type)
	f = append(f, `,"data":`...)
	return appendFrame(nil, websocket.TextMessage, append(append(f, e.Data...), '}'))
}

func gapFrame(g *replay.Gap) []byte {
	f := append(newFrame("gap"), ',')
	return frame(wire.AppendGap(f, g)).end(nil)
}

func liveFrame(room streams.Room, replayed int, cursor streams.ID) []byte {
	f := append(newFrame("live").room(room), `,"replayed":`...)
	f = strconv.AppendInt(f, int64(replayed), 10)
	return frame(f).cursor(cursor.String()).end(nil)
}

// errorFrame reports a problem. room is "" for a problem that concerns no room.
func errorFrame(p *problem.Document, room streams.Room, ref json.RawMessage) []byte {
	f := newFrame("error").text("code", p.Code).text("detail", p.Detail)
	if room != "" {
		f = f.room(room)
	}
	if p.ID != nil {
		f = f.id(*p.ID)
	}
	if p.Status == http.StatusTooManyRequests {
		f = strconv.AppendInt(append(f, `,"retry_after":`...), int64(p.RetryAfter), 10)
	}
	return f.end(ref)
}
