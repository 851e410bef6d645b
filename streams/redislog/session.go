package redislog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/redisconn"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

const (
	// pingEvery makes a live connection send something well within maxSilence.
	pingEvery = 1500 * time.Millisecond

	// maxSilence is the time without any data after which a connection counts as dead. It
	// runs only while the session waits for the connection, never while it waits for a slow
	// reader. The session then ends, so a message that go-redis has read in part does no
	// harm.
	maxSilence = 4500 * time.Millisecond

	// maxChannels bounds the channels of one command, and so the time that it takes Redis.
	maxChannels = 500
)

// A session is one subscription connection, from its first confirmation to its first error.
// It never reconnects (see redisconn.WithoutRedial), because the feed must report every
// interruption.
//
// It subscribes first to the partition's own channel, that of the room "", and never
// leaves it. The confirmation proves that the connection works.
type session struct {
	// Fixed by newSession.
	feed  *feed
	ps    *redis.PubSub
	probe *feedProbe

	trace entry.Trace // of the latest trace message; owned by read

	mu    sync.Mutex // guards rooms
	rooms map[streams.Room]*channelState
}

// A channelState is a channel for which commands were sent. Redis confirms commands in
// their order, so a count tells which command a confirmation belongs to.
type channelState struct {
	unconfirmed int
	joined      bool // the last command was SSUBSCRIBE, not SUNSUBSCRIBE
	ticket      uint64
}

// newSession does not connect yet.
func (f *feed) newSession(ctx context.Context, node *redis.Client) *session {
	return &session{
		feed: f, ps: node.SSubscribe(ctx), probe: newFeedProbe(f.store, f.p),
		rooms: map[streams.Room]*channelState{},
	}
}

// runSession connects, and serves the feed until an error or Close. It reports whether
// the connection worked at all.
func (f *feed) runSession() (connected bool, err error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	node, err := f.store.primary(ctx, f.p)
	if err != nil {
		return false, err
	}
	s := f.newSession(ctx, node)
	if err := s.connect(ctx, node); err != nil {
		return false, errors.Join(err, s.ps.Close())
	}
	f.beginSession()
	defer f.endSession()

	ctx = redisconn.WithoutRedial(ctx)
	var others sync.WaitGroup
	var writeErr error
	others.Go(func() { writeErr = s.write(ctx) })
	others.Go(func() { s.probe.run(ctx, node) })
	err = s.read(ctx)
	cancel()
	others.Wait()
	return true, errors.Join(err, writeErr)
}

// connect subscribes to the partition's own channel at node. It returns once that is
// confirmed and node has answered with the partition's watermarks. So a reconnect after a
// loss notices the loss.
//
// Only the watermarks prove that the subscription is at the primary. A replica in a
// Cluster accepts subscriptions too. It misses events when its connection to the primary
// breaks, while the subscription lives on. A primary that becomes a replica ends its
// subscriptions.
func (s *session) connect(ctx context.Context, node *redis.Client) error {
	began := time.Now()
	if err := s.subscribe(ctx, []change{{joined: true}}); err != nil {
		return err
	}
	store := s.feed.store
	reply, err := s.ps.ReceiveTimeout(ctx, store.opt.Timeout)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	confirmation, ok := reply.(*redis.Subscription)
	if !ok {
		return fmt.Errorf("subscribe: unexpected reply %v", reply)
	}
	if err := s.confirmation(ctx, confirmation); err != nil {
		return err
	}
	observe(store.metrics.subscribe, began)
	if err := s.ps.SSubscribe(ctx, s.probe.channel); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, store.opt.Timeout)
	defer cancel()
	if _, err := store.watermarks(ctx, node, s.feed.p, nil); !rediserr.Migrating(err) {
		return err
	}
	return nil
}

// write sends the feed's commands and pings until ctx ends. It closes the connection at
// its end, which ends read.
func (s *session) write(ctx context.Context) error {
	defer s.ps.Close()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-s.feed.wake:
			err = s.apply(ctx, s.feed.takeChanges())
		case <-ping.C:
			err = s.ps.Ping(ctx)
		case <-ctx.Done():
			return nil
		}
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
}

// apply sends the commands for changes. A room that was left and that this connection has
// not joined needs none.
func (s *session) apply(ctx context.Context, changes []change) error {
	var joins, leaves []change
	for _, c := range changes {
		switch {
		case c.joined:
			joins = append(joins, c)
		case s.has(c.room):
			leaves = append(leaves, c)
		}
	}
	for chunk := range slices.Chunk(leaves, maxChannels) {
		if err := s.ps.SUnsubscribe(ctx, s.sending(chunk)...); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(joins, maxChannels) {
		if err := s.subscribe(ctx, chunk); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) subscribe(ctx context.Context, joins []change) error {
	return s.ps.SSubscribe(ctx, s.sending(joins)...)
}

// sending records that a command for the changes follows, and returns its channels.
func (s *session) sending(changes []change) []string {
	channels := make([]string, len(changes))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range changes {
		channels[i] = s.feed.p.Channel(c.room)
		state := s.rooms[c.room]
		if state == nil {
			state = new(channelState)
			s.rooms[c.room] = state
		}
		state.unconfirmed++
		state.joined, state.ticket = c.joined, c.ticket
	}
	return channels
}

func (s *session) has(room streams.Room) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[room] != nil
}

// read handles the replies and messages of the connection until it breaks.
func (s *session) read(ctx context.Context) error {
	for {
		reply, err := s.ps.ReceiveTimeout(ctx, maxSilence)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		switch m := reply.(type) {
		case *redis.Message:
			err = s.message(ctx, m)
		case *redis.Subscription:
			err = s.confirmation(ctx, m)
		}
		if err != nil {
			return err
		}
	}
}

// message sends an event to the reader, with the trace of the message before it. It
// ignores foreign messages. If one takes the place of an event, Prev of the next event
// shows that.
func (s *session) message(ctx context.Context, m *redis.Message) error {
	room, ok := s.feed.p.RoomOf(m.Channel)
	if !ok && m.Channel == s.probe.channel {
		s.probe.received(m.Payload)
	}
	if !ok || room == "" {
		return nil
	}
	if entry.IsTrace(m.Payload) {
		s.keepTrace(m)
		return nil
	}
	e, err := entry.ParseMessage(room, s.feed.p.ID, m.Payload)
	if err != nil {
		s.ignore(m, err)
		return nil
	}
	if e.ID == s.trace.ID {
		e.Trace = s.trace.Trace
	}
	if !e.Ephemeral {
		s.feed.p.saw(s, room, e.ID)
	}
	return s.send(ctx, streams.FeedMessage{Event: e})
}

// keepTrace keeps a trace for the next message.
func (s *session) keepTrace(m *redis.Message) {
	var err error
	if s.trace, err = entry.ParseTrace(s.feed.p.ID, m.Payload); err != nil {
		s.ignore(m, err)
	}
}

func (s *session) ignore(m *redis.Message, why error) {
	s.feed.store.opt.Logger.Warn("ignored a message that Tidemark did not publish", "channel", m.Channel, "error", why)
}

// confirmation announces the room if the last command for it was to join. A confirmation
// without a command means that Redis has moved the slot to another node.
func (s *session) confirmation(ctx context.Context, m *redis.Subscription) error {
	if m.Channel == s.probe.channel {
		return s.probe.confirm(m)
	}
	room, _ := s.feed.p.RoomOf(m.Channel)
	ticket, joined, err := s.confirm(room, m.Kind == "ssubscribe")
	if err != nil {
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, err)
	}
	if !joined || room == "" {
		return nil
	}
	return s.send(ctx, streams.FeedMessage{Joined: room, Ticket: ticket})
}

// confirm counts a confirmation, and reports whether the room is joined now.
func (s *session) confirm(room streams.Room, joins bool) (ticket uint64, joined bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.rooms[room]
	if state == nil || state.unconfirmed == 0 {
		return 0, false, errUnexpected
	}
	state.unconfirmed--
	if state.unconfirmed > 0 {
		return 0, false, nil // a later command decides
	}
	if state.joined != joins {
		return 0, false, errUnexpected
	}
	if !joins {
		delete(s.rooms, room)
	}
	return state.ticket, joins, nil
}

func (s *session) send(ctx context.Context, m streams.FeedMessage) error {
	if !s.feed.send(ctx, m) {
		return ctx.Err()
	}
	return nil
}
