package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// maxRef bounds what a client may have echoed.
const maxRef = 128

// A request is one message of a client on a WebSocket.
type request struct {
	object
	op  string
	ref json.RawMessage
}

// understand does what a message asks for, and returns the answer for the writer
// to send. The reader calls it; it waits for the log, within limits.
func (k *socket) understand(ctx context.Context, text []byte) command {
	m, err := parseRequest(text)
	if err != nil {
		return k.refuse(err, "", m.ref)
	}
	switch m.op {
	case "ping":
		return command{frame: newFrame("pong").end(m.ref)}
	case "subscribe", "unsubscribe", "publish":
	default:
		return k.refuse(fmt.Errorf("%w: unknown op %.40q", errMessage, m.op), "", m.ref)
	}
	room, err := m.room()
	if err != nil {
		return k.refuse(err, "", m.ref)
	}
	var cmd command
	switch m.op {
	case "subscribe":
		cmd, err = k.subscribe(ctx, room, m)
	case "unsubscribe":
		cmd, err = k.unsubscribe(room, m)
	case "publish":
		cmd, err = k.publish(ctx, room, m)
	}
	if err != nil {
		return k.refuse(err, room, m.ref)
	}
	return cmd
}

// refuse answers a message with the problem that err is.
func (k *socket) refuse(err error, room streams.Room, ref json.RawMessage) command {
	k.server.logFailure(err)
	return command{frame: errorFrame(k.server.problem(err), room, ref)}
}

// parseRequest reads a message. The ref comes with the error where it could be read.
func parseRequest(text []byte) (m request, err error) {
	m.object, err = parseObject(errMessage, text, "op", "room", "since", "last", "type", "data", "key", "durability", "ref")
	ref, refErr := parseRef(m.members["ref"])
	m.ref = ref
	if err = cmp.Or(err, refErr); err != nil {
		return m, err
	}
	var given bool
	if m.op, given, err = m.text("op"); err == nil && !given {
		err = fmt.Errorf("%w: field \"op\" is missing", errMessage)
	}
	return m, err
}

// parseRef returns what is to be echoed: a string or a number, not a long one.
func parseRef(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	if len(raw) > maxRef || !bytes.ContainsAny(raw[:1], `"-0123456789`) {
		return nil, fmt.Errorf("%w: field \"ref\" is not a string or a number of at most %d bytes", errMessage, maxRef)
	}
	return raw, nil
}

// room returns the room that a message names.
func (m request) room() (streams.Room, error) {
	name, given, err := m.text("room")
	if err != nil {
		return "", err
	}
	if !given {
		return "", fmt.Errorf("%w: field \"room\" is missing", errMessage)
	}
	return streams.ParseRoom(name)
}

// subscribe begins to follow a room.
func (k *socket) subscribe(ctx context.Context, room streams.Room, m request) (command, error) {
	if k.rooms[room] {
		return command{}, errFollowed
	}
	if len(k.rooms) >= k.server.opts.MaxRooms {
		return command{}, fmt.Errorf("%w: want at most %d", errTooManyRooms, k.server.opts.MaxRooms)
	}
	since, _, err := m.text("since")
	if err != nil {
		return command{}, err
	}
	start, err := parseStart(since, string(m.members["last"]), time.Now())
	if err != nil {
		return command{}, err
	}
	f := &roomFollow{room: room}
	f.sub, err = k.server.node.Subscribe(ctx, []streams.Room{room}, start, func() { k.markReady(f) })
	if err != nil {
		return command{}, err
	}
	f.pos = f.sub.Opening().IDs()[0]
	k.rooms[room] = true
	return command{
		frame: newFrame("subscribed").room(room).cursor(f.pos.String()).end(m.ref),
		begin: f,
	}, nil
}

// unsubscribe ends following a room.
func (k *socket) unsubscribe(room streams.Room, m request) (command, error) {
	if !k.rooms[room] {
		return command{}, errNotFollowed
	}
	delete(k.rooms, room)
	return command{frame: newFrame("unsubscribed").room(room).end(m.ref), end: room}, nil
}

// publish stores an event. Those of one connection are stored in their order.
func (k *socket) publish(ctx context.Context, room streams.Room, m request) (command, error) {
	if k.server.draining.Err() != nil {
		return command{}, errDraining
	}
	draft, err := k.server.draft(room, m.object)
	if err != nil {
		return command{}, err
	}
	receipt := k.server.append(ctx, []streams.Draft{draft})[0]
	if receipt.Err != nil {
		return command{}, notStored(receipt)
	}
	f := newFrame("published").room(room).id(receipt.ID).durability(receipt.Durability)
	if receipt.Replayed {
		f = append(f, `,"replayed":true`...)
	}
	return command{frame: f.end(m.ref)}, nil
}
