package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// The frames that the server sends on a WebSocket, in the words of docs/protocol.md.
// ref is what the client gave, as it gave it; empty if nothing.

// frame is a text frame under construction: a JSON object without its last brace.
type frame []byte

func newFrame(op string) frame { return append(frame(`{"op":"`), op+`"`...) }

// room adds the room, whose characters JSON takes as they are.
func (f frame) room(r streams.Room) frame {
	f = append(f, `,"room":"`...)
	f = append(f, r...)
	return append(f, '"')
}

func (f frame) id(id streams.ID) frame {
	return appendQuotedID(append(f, `,"id":`...), id)
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

// text adds a member whose value may hold anything.
func (f frame) text(name, value string) frame {
	quoted, err := json.Marshal(value)
	if err != nil {
		panic(err) // a string: can't happen
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

// eventFrame is the form of an event that all sockets share: the whole frame.
func eventFrame(e *streams.Event) []byte {
	f := newFrame("event").room(e.Room).id(e.ID).text("type", e.Type)
	f = append(f, `,"data":`...)
	return appendFrame(nil, websocket.TextMessage, append(append(f, e.Data...), '}'))
}

func gapFrame(g *replay.Gap) []byte {
	f := append(newFrame("gap"), ',')
	return frame(appendGap(f, g)).end(nil)
}

func liveFrame(room streams.Room, replayed int, cursor streams.ID) []byte {
	f := append(newFrame("live").room(room), `,"replayed":`...)
	f = strconv.AppendInt(f, int64(replayed), 10)
	return frame(f).cursor(cursor.String()).end(nil)
}

// errorFrame tells a client of a problem. room is empty where it is about none.
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
