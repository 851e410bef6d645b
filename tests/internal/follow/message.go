// Package follow follows rooms over every transport, for tests that compare the events
// a client received with the events that were published.
//
// Open returns a Stream of messages on an established connection. A Client records the
// messages of one connection after the other and keeps the cursors. A public Go client
// can replace both: tests see Message and State only.
package follow

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/tests/internal/sse"
)

// Kinds of messages.
const (
	Opened   = "open"     // the server named the position of the connection
	Event    = "event"    // one event
	Live     = "live"     // the replay is complete
	Gap      = "gap"      // events may be missing
	Position = "position" // a newer cursor, or a keep-alive without one
	Error    = "error"    // the server reports an outage, or ends the connection
	Closed   = "closed"   // a WebSocket close frame; Code is its number
)

// A Message is one block of an event stream or one WebSocket frame. Both transports
// use the same words.
type Message struct {
	Kind     string
	At       time.Time // when it was received
	Room     string    // of an event on a connection for several rooms, and of WebSocket messages
	ID       string    // of an event
	Data     string    // of an event: the JSON as sent
	Text     string    // Data, decoded, if it is a JSON string
	After    string    // of a gap, with Before and Reason
	Before   string
	Reason   string
	Replayed int           // of Live
	Code     string        // of Error and Closed
	Detail   string        // of Error
	Cursor   string        // the position to resume from; "" if the message has none
	Retry    time.Duration // over SSE: the delay before the client should return
}

// body is the JSON of all messages: a frame, or the data of a block.
type body struct {
	Op, Room, ID, Cursor, After, Before, Reason, Code, Detail string
	Replayed                                                  int
	Data                                                      json.RawMessage
}

func (b body) message(kind string) Message {
	m := Message{
		Kind: kind, At: time.Now(), Room: b.Room, ID: b.ID, Cursor: b.Cursor, After: b.After, Before: b.Before,
		Reason: b.Reason, Code: b.Code, Detail: b.Detail, Replayed: b.Replayed,
	}
	m.setData(b.Data)
	return m
}

func (m *Message) setData(data []byte) {
	m.Data = string(data)
	if len(data) > 0 && data[0] == '"' {
		_ = json.Unmarshal(data, &m.Text) // if it fails, Text stays empty and differs from every published text
	}
}

// parseBlock returns the message in a block of a stream for rooms.
func parseBlock(b sse.Block, rooms []string) (Message, error) {
	m := Message{Kind: Position, At: time.Now()}
	kind, own := strings.CutPrefix(b.Event, "tidemark.")
	switch {
	case b.Data == "":
	case own:
		var said body
		if err := json.Unmarshal([]byte(b.Data), &said); err != nil {
			return m, fmt.Errorf("block %q: %w", b.Text, err)
		}
		m = said.message(kind)
	case len(rooms) == 1:
		m.Kind, m.Room, m.ID = Event, rooms[0], b.ID
		m.setData([]byte(b.Data))
	default:
		var wrapped struct {
			Room string
			Data json.RawMessage
		}
		if err := json.Unmarshal([]byte(b.Data), &wrapped); err != nil {
			return m, fmt.Errorf("block %q: %w", b.Text, err)
		}
		m.Kind, m.Room, m.ID = Event, wrapped.Room, b.ID
		m.setData(wrapped.Data)
	}
	m.Cursor, m.Retry = b.ID, b.Retry
	return m, nil
}

// parseFrame returns the message in a WebSocket frame.
func parseFrame(text []byte) (Message, error) {
	var said body
	if err := json.Unmarshal(text, &said); err != nil {
		return Message{}, fmt.Errorf("frame %q: %w", text, err)
	}
	m := said.message(said.Op)
	switch said.Op {
	case "subscribed":
		m.Kind = Opened
	case "event":
		m.Cursor = said.ID
	}
	return m, nil
}
