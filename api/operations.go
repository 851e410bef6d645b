package api

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
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

// serve does what messages ask for, in their order, and answers each. Publishes that
// come one after the other are stored together.
func (k *socket) serve(asked []message) {
	ctx := k.server.cut
	var publishes []request
	for _, said := range asked {
		m, err := parseRequest(said.text)
		if said.tooFast {
			err = k.pace.err()
		}
		if err == nil && m.op == "publish" {
			publishes = append(publishes, m)
			continue
		}
		k.publish(ctx, publishes)
		publishes = publishes[:0]
		switch {
		case err != nil:
			k.answer(k.refuse(err, "", m.ref))
		case m.op == "auth":
			k.authorize(ctx, m)
		default:
			k.answer(k.understand(ctx, m))
		}
	}
	k.publish(ctx, publishes)
}

// authorize takes a new credential for the one that the socket came with. Rooms that
// it does not allow are left.
func (k *socket) authorize(ctx context.Context, m request) {
	g, err := k.newGrant(ctx, m)
	if err != nil {
		k.answer(k.refuse(err, "", m.ref))
		return
	}
	k.grant = g
	k.until(g.Expires())
	k.answer(answer{frame: newFrame("authorized").end(m.ref)})
	k.rooms = slices.DeleteFunc(k.rooms, func(room streams.Room) bool {
		err := problem.Authorize(g, access.Subscribe, room)
		if err != nil {
			a := k.refuse(err, room, nil)
			a.end = room
			k.answer(a)
		}
		return err != nil
	})
}

// newGrant returns what the credential in a message allows. It has to be the same
// user's: a connection stays whose it is.
func (k *socket) newGrant(ctx context.Context, m request) (*access.Grant, error) {
	token, given, err := m.text("token")
	switch {
	case err != nil:
		return nil, err
	case !given:
		return nil, fmt.Errorf("%w: field \"token\" is missing", problem.ErrMessage)
	case k.server.opts.Access == nil:
		return k.grant, nil
	}
	g, err := k.server.opts.Access.Verify(ctx, token)
	if err == nil && g.User() != k.grant.User() {
		return nil, fmt.Errorf("%w: it is of another user than the connection", problem.ErrForbidden)
	}
	return g, err
}

// understand does what a message asks for that is no publish. It waits for the log,
// within limits.
func (k *socket) understand(ctx context.Context, m request) answer {
	switch m.op {
	case "ping":
		return answer{frame: newFrame("pong").end(m.ref)}
	case "subscribe", "unsubscribe":
	default:
		return k.refuse(fmt.Errorf("%w: unknown op %.40q", problem.ErrMessage, m.op), "", m.ref)
	}
	room, err := m.room()
	if err != nil {
		return k.refuse(err, "", m.ref)
	}
	var a answer
	if m.op == "subscribe" {
		a, err = k.subscribe(ctx, room, m)
	} else {
		a, err = k.unsubscribe(room, m)
	}
	if err != nil {
		return k.refuse(err, room, m.ref)
	}
	return a
}

// refuse answers a message with the problem that err is.
func (k *socket) refuse(err error, room streams.Room, ref json.RawMessage) answer {
	k.server.problems.LogFailure(err)
	return answer{frame: errorFrame(k.server.problems.Document(err), room, ref)}
}

// parseRequest reads a message. The ref comes with the error where it could be read.
func parseRequest(text []byte) (m request, err error) {
	m.object, err = parseObject(problem.ErrMessage, text, "op", "room", "since", "last", "type", "data", "key", "durability", "token", "ref")
	ref, refErr := parseRef(m.members["ref"])
	m.ref = ref
	if err = cmp.Or(err, refErr); err != nil {
		return m, err
	}
	var given bool
	if m.op, given, err = m.text("op"); err == nil && !given {
		err = fmt.Errorf("%w: field \"op\" is missing", problem.ErrMessage)
	}
	return m, err
}

// parseRef returns what is to be echoed: a string or a number, not a long one.
func parseRef(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	if len(raw) > maxRef || !bytes.ContainsAny(raw[:1], `"-0123456789`) {
		return nil, fmt.Errorf("%w: field \"ref\" is not a string or a number of at most %d bytes", problem.ErrMessage, maxRef)
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
		return "", fmt.Errorf("%w: field \"room\" is missing", problem.ErrMessage)
	}
	return streams.ParseRoom(name)
}

// subscribe begins to follow a room.
func (k *socket) subscribe(ctx context.Context, room streams.Room, m request) (answer, error) {
	if err := problem.Authorize(k.grant, access.Subscribe, room); err != nil {
		return answer{}, err
	}
	if slices.Contains(k.rooms, room) {
		return answer{}, problem.ErrFollowed
	}
	if len(k.rooms) >= k.server.opts.MaxRooms {
		return answer{}, fmt.Errorf("%w: want at most %d", problem.ErrTooManyRooms, k.server.opts.MaxRooms)
	}
	since, _, err := m.text("since")
	if err != nil {
		return answer{}, err
	}
	start, err := parseStart(since, string(m.members["last"]), time.Now())
	if err != nil {
		return answer{}, err
	}
	f := &roomFollow{room: room}
	f.sub, err = k.server.node.Subscribe(ctx, []streams.Room{room}, start, func() { k.markReady(f) })
	if err != nil {
		return answer{}, err
	}
	f.pos = f.sub.InitialCursor().IDs()[0]
	k.rooms = append(k.rooms, room)
	return answer{
		frame: newFrame("subscribed").room(room).cursor(f.pos.String()).end(m.ref),
		begin: f,
	}, nil
}

// unsubscribe ends following a room.
func (k *socket) unsubscribe(room streams.Room, m request) (answer, error) {
	i := slices.Index(k.rooms, room)
	if i < 0 {
		return answer{}, problem.ErrNotFollowed
	}
	k.rooms = slices.Delete(k.rooms, i, i+1)
	return answer{frame: newFrame("unsubscribed").room(room).end(m.ref), end: room}, nil
}

// publish stores events, and answers each. Where the rates have no room for all, the
// first are stored.
func (k *socket) publish(ctx context.Context, asked []request) {
	drafts := make([]streams.Draft, 0, len(asked))
	faults := make([]error, len(asked))
	for i, m := range asked {
		var d streams.Draft
		if d, faults[i] = k.draft(m); faults[i] == nil {
			drafts = append(drafts, d)
		}
	}
	ctx, end := k.server.traceMessages(ctx, len(drafts))
	receipts, _, _ := k.server.append(ctx, publisher{via: viaWebSocket, subject: k.server.subjectOf(k.grant), address: k.address, each: true}, drafts)
	end(receipts)
	for i, m := range asked {
		if faults[i] != nil {
			room, _ := m.room() // named in the answer if it can be
			k.answer(k.refuse(faults[i], room, m.ref))
			continue
		}
		k.answer(k.receipt(drafts[0].Room, receipts[0], m.ref))
		drafts, receipts = drafts[1:], receipts[1:]
	}
}

// draft returns the event that a publish describes.
func (k *socket) draft(m request) (streams.Draft, error) {
	if k.server.draining.Err() != nil {
		return streams.Draft{}, problem.ErrDraining
	}
	room, err := m.room()
	if err != nil {
		return streams.Draft{}, err
	}
	if err := problem.Authorize(k.grant, access.Publish, room); err != nil {
		return streams.Draft{}, err
	}
	return k.server.draft(room, m.object)
}

// receipt is the answer to a publish that went to the log.
func (k *socket) receipt(room streams.Room, r streams.Receipt, ref json.RawMessage) answer {
	if r.Err != nil {
		return k.refuse(problem.OfReceipt(r), room, ref)
	}
	f := newFrame("published").room(room).id(r.ID).durability(r.Durability)
	if r.Replayed {
		f = append(f, `,"replayed":true`...)
	}
	return answer{frame: f.end(ref)}
}
