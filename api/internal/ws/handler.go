package ws

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/streams"
)

// handle is the session's handler. It executes the messages in the message queue, in
// order, until the queue is empty. All operations wait for the log at most for the node's
// time limits.
func (k *Session) handle() {
	defer k.Wake() // the task may wait for the handler to end
	defer func() {
		if p := recover(); p != nil {
			k.Env.Problems.LogPanic(p)
			_ = k.Transport().Close() // ends the reader, and then the task
			k.queues.handlerEnded()
		}
	}()
	for k.executeNext() {
	}
}

// executeNext executes the messages in the message queue. It returns false if the handler
// must end.
func (k *Session) executeNext() (more bool) {
	messages, dropped := k.queues.takeMessages()
	release(dropped)
	defer release(messages) // also after a panic
	k.execute(messages)
	return messages != nil
}

// execute executes messages and answers each. Consecutive publishes are stored together.
func (k *Session) execute(messages []message) {
	var publishes []request
	for _, raw := range messages {
		if k.queues.dropping() {
			return
		}
		m, err := parseRequest(raw.text)
		if raw.refuse {
			err = k.limiter.err()
		}
		if err == nil && m.op == "publish" {
			publishes = append(publishes, m)
			continue
		}
		k.publish(publishes)
		publishes = publishes[:0]
		switch {
		case err != nil:
			k.answer(k.refuse(err, "", m.ref))
		case m.op == "auth":
			k.authorize(m)
		default:
			k.answer(k.executeOne(m))
		}
	}
	k.publish(publishes)
}

// answer queues an answer. It waits while the client does not read earlier ones.
func (k *Session) answer(a answer) {
	if a.begin != nil && k.queues.isStalled() {
		a.begin.sub.Shed() // the task cannot shed it any more
	}
	k.queues.putAnswer(a)
	k.Wake()
}

// refuse returns the answer to a message that failed with err.
func (k *Session) refuse(err error, room streams.Room, ref json.RawMessage) answer {
	k.Env.Problems.LogFailure(err)
	return answer{frame: errorFrame(k.Env.Problems.Document(err), room, ref)}
}

// authorize replaces the session's grant. It unsubscribes from rooms that the new grant
// does not allow.
func (k *Session) authorize(m request) {
	g, err := k.newGrant(m)
	if err != nil {
		k.answer(k.refuse(err, "", m.ref))
		return
	}
	k.grant = g
	k.watchGrant()
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

// newGrant returns the grant of the token in a message. A session cannot change its user.
func (k *Session) newGrant(m request) (*access.Grant, error) {
	token, given, err := m.Text("token")
	switch {
	case err != nil:
		return nil, err
	case !given:
		return nil, fmt.Errorf("%w: field \"token\" is missing", problem.ErrMessage)
	}
	g, err := k.server.backend.Verify(k.Env.Cut, token)
	if err == nil && g.User() != k.grant.User() {
		return nil, fmt.Errorf("%w: the token belongs to another user than the connection", problem.ErrForbidden)
	}
	return g, err
}

// executeOne executes ping, subscribe or unsubscribe.
func (k *Session) executeOne(m request) answer {
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
		a, err = k.subscribe(room, m)
	} else {
		a, err = k.unsubscribe(room, m)
	}
	if err != nil {
		return k.refuse(err, room, m.ref)
	}
	return a
}

// subscribe begins a subscription.
func (k *Session) subscribe(room streams.Room, m request) (answer, error) {
	if err := problem.Authorize(k.grant, access.Subscribe, room); err != nil {
		return answer{}, err
	}
	if slices.Contains(k.rooms, room) {
		return answer{}, problem.ErrFollowed
	}
	if len(k.rooms) >= k.server.opts.MaxRooms {
		return answer{}, fmt.Errorf("%w: want at most %d", problem.ErrTooManyRooms, k.server.opts.MaxRooms)
	}
	since, _, err := m.Text("since")
	if err != nil {
		return answer{}, err
	}
	start, err := wire.ParseStart(since, string(m.Members["last"]), time.Now())
	if err != nil {
		return answer{}, err
	}
	s := &roomSub{room: room}
	s.sub, err = k.server.backend.Subscribe(k.Env.Cut, k.grant, k.address, []streams.Room{room}, start, func() { k.markReady(s) })
	if err != nil {
		return answer{}, err
	}
	s.pos = s.sub.InitialCursor().IDs()[0]
	k.rooms = append(k.rooms, room)
	return answer{
		frame: newFrame("subscribed").room(room).cursor(s.pos.String()).end(m.ref),
		begin: s,
	}, nil
}

// unsubscribe ends a subscription.
func (k *Session) unsubscribe(room streams.Room, m request) (answer, error) {
	i := slices.Index(k.rooms, room)
	if i < 0 {
		return answer{}, problem.ErrNotFollowed
	}
	k.rooms = slices.Delete(k.rooms, i, i+1)
	return answer{frame: newFrame("unsubscribed").room(room).end(m.ref), end: room}, nil
}

// publish stores events and answers each message. If the rate limits have no room for all,
// the first ones are stored.
func (k *Session) publish(messages []request) {
	drafts := make([]streams.Draft, 0, len(messages))
	faults := make([]error, len(messages))
	for i, m := range messages {
		var d streams.Draft
		if d, faults[i] = k.draft(m); faults[i] == nil {
			drafts = append(drafts, d)
		}
	}
	receipts := k.server.backend.Publish(k.Env.Cut, k.grant, k.address, drafts)
	for i, m := range messages {
		if faults[i] != nil {
			room, _ := m.room() // the answer names it if it is valid
			k.answer(k.refuse(faults[i], room, m.ref))
			continue
		}
		k.answer(k.published(drafts[0].Room, receipts[0], m.ref))
		drafts, receipts = drafts[1:], receipts[1:]
	}
}

// draft returns the event that a publish describes.
func (k *Session) draft(m request) (streams.Draft, error) {
	if k.server.backend.Draining() {
		return streams.Draft{}, problem.ErrDraining
	}
	room, err := m.room()
	if err != nil {
		return streams.Draft{}, err
	}
	if err := problem.Authorize(k.grant, access.Publish, room); err != nil {
		return streams.Draft{}, err
	}
	return wire.ParseDraft(room, m.Object, k.server.opts.MaxData)
}

// published returns the answer to a publish that went to the log.
func (k *Session) published(room streams.Room, r streams.Receipt, ref json.RawMessage) answer {
	if r.Err != nil {
		return k.refuse(problem.OfReceipt(r), room, ref)
	}
	f := newFrame("published").room(room).id(r.ID).durability(r.Durability)
	if r.Replayed {
		f = append(f, `,"replayed":true`...)
	}
	return answer{frame: f.end(ref)}
}
