package redislog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

const (
	// pingEvery makes a live connection say something well within silence.
	pingEvery = 1500 * time.Millisecond

	// silence is how long a connection may say nothing before it counts as dead.
	// It runs only while the session waits for the connection, never while it
	// waits for a slow reader. The session ends with it, so that it does not
	// matter that go-redis may have read half a message by then.
	silence = 4500 * time.Millisecond

	// maxChannels bounds the channels of one command, and so how long Redis is
	// busy with it.
	maxChannels = 500
)

// A session is one subscription connection, from its first confirmation to its
// first error. It never reconnects (see dialOnce): whoever reads a feed must
// hear of every break.
//
// The channel of the partition itself, that of the room "", is subscribed first
// and for ever: its confirmation says that the connection works.
type session struct {
	// Fixed by feed.session.
	f      *feed
	ps     *redis.PubSub
	prober *prober

	noted noted // by the last such message; owned by read

	mu    sync.Mutex // guards rooms
	rooms map[streams.Room]*subscription
}

// A subscription is a channel that commands were sent for. Redis confirms
// commands in their order, so that counting tells which confirmation is whose.
type subscription struct {
	unconfirmed int
	joined      bool // by the last command sent, which was SSUBSCRIBE; else SUNSUBSCRIBE
	ticket      uint64
}

// session connects and serves the feed until something breaks. It reports
// whether the connection ever worked.
func (f *feed) session() (connected bool, err error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	node, err := f.log.master(ctx, f.p)
	if err != nil {
		return false, err
	}
	s := &session{f: f, ps: node.SSubscribe(ctx), prober: newProber(f.p), rooms: map[streams.Room]*subscription{}}
	if err := s.connect(ctx, node); err != nil {
		return false, errors.Join(err, s.ps.Close())
	}
	f.changeAll()

	ctx = context.WithValue(ctx, settled{}, true)
	var writer sync.WaitGroup
	var writeErr error
	writer.Go(func() { writeErr = s.write(ctx) })
	writer.Go(func() { s.probe(ctx, node) })
	err = s.read(ctx)
	cancel()
	writer.Wait()
	return true, errors.Join(err, writeErr)
}

// connect subscribes to the partition's own channel at node, and returns once that
// is confirmed and node has said what the partition's edges are, so that a loss is
// noticed at the reconnect after it.
//
// Only then is it certain that the subscription is the master's: replicas in a
// Cluster take subscriptions too, and miss events when the link between two nodes
// breaks, though ours stands. A master that becomes a replica ends those that it has.
func (s *session) connect(ctx context.Context, node *redis.Client) error {
	began := time.Now()
	if err := s.subscribe(ctx, []change{{joined: true}}); err != nil {
		return err
	}
	said, err := s.ps.ReceiveTimeout(ctx, s.f.log.opt.Timeout)
	if err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	confirmed, ok := said.(*redis.Subscription)
	if !ok {
		return fmt.Errorf("subscribe: %v", said)
	}
	if err := s.confirmation(ctx, confirmed); err != nil {
		return err
	}
	observe(s.f.log.metrics.subscribe, began)
	if err := s.ps.SSubscribe(ctx, s.prober.channel); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.f.log.opt.Timeout)
	defer cancel()
	if _, err := s.f.log.edges(ctx, node, s.f.p, nil); !leaving(err) {
		return err
	}
	return nil
}

// leaving reports whether err says that the slot is on its way from this node to
// another, and so still this one's.
func leaving(err error) bool {
	return redis.HasErrorPrefix(err, "ASK") || redis.HasErrorPrefix(err, "TRYAGAIN")
}

// write sends what the feed wants, and pings. When it ends it closes the
// connection, which ends read.
func (s *session) write(ctx context.Context) error {
	defer s.ps.Close()
	ping := time.NewTicker(pingEvery)
	defer ping.Stop()
	for {
		var err error
		select {
		case <-s.f.wake:
			err = s.apply(ctx, s.f.takeChanges())
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

// apply sends the commands for changes. Rooms left that this connection never
// joined need none.
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
	for some := range slices.Chunk(leaves, maxChannels) {
		if err := s.ps.SUnsubscribe(ctx, s.sending(some)...); err != nil {
			return err
		}
	}
	for some := range slices.Chunk(joins, maxChannels) {
		if err := s.subscribe(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) subscribe(ctx context.Context, joins []change) error {
	return s.ps.SSubscribe(ctx, s.sending(joins)...)
}

// sending notes that a command for the changes is about to be sent, and returns
// its channels.
func (s *session) sending(changes []change) []string {
	channels := make([]string, len(changes))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range changes {
		channels[i] = s.f.p.channel(c.room)
		sub := s.rooms[c.room]
		if sub == nil {
			sub = new(subscription)
			s.rooms[c.room] = sub
		}
		sub.unconfirmed++
		sub.joined, sub.ticket = c.joined, c.ticket
	}
	return channels
}

func (s *session) has(room streams.Room) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[room] != nil
}

// read takes what the connection says until it breaks.
func (s *session) read(ctx context.Context) error {
	for {
		said, err := s.ps.ReceiveTimeout(ctx, silence)
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		switch m := said.(type) {
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

// message hands on an event, with the trace of the message before it. What others
// publish on our channels is no event; if it hides one, the Prev of the next shows it.
func (s *session) message(ctx context.Context, m *redis.Message) error {
	room, ok := s.f.p.roomOf(m.Channel)
	if !ok && m.Channel == s.prober.channel {
		s.probed(m.Payload)
	}
	if !ok || room == "" {
		return nil
	}
	if strings.HasPrefix(m.Payload, traceMark) {
		s.note(m)
		return nil
	}
	e, err := parseMessage(room, s.f.p.id, m.Payload)
	if err != nil {
		s.ignore(m, err)
		return nil
	}
	if e.ID == s.noted.id {
		e.Trace = s.noted.trace
	}
	if !e.Ephemeral {
		s.f.p.saw(s, room, e.ID)
	}
	return s.say(ctx, streams.FeedMessage{Event: e})
}

// note keeps a trace for the message that comes next.
func (s *session) note(m *redis.Message) {
	var err error
	if s.noted, err = parseNoted(s.f.p.id, m.Payload); err != nil {
		s.ignore(m, err)
	}
}

func (s *session) ignore(m *redis.Message, why error) {
	s.f.log.opt.Logger.Warn("foreign message ignored", "channel", m.Channel, "error", why)
}

// confirmation announces the room if its last command was to join it. One that
// answers no command means that Redis has moved the slot away.
func (s *session) confirmation(ctx context.Context, m *redis.Subscription) error {
	if m.Channel == s.prober.channel {
		return s.prober.confirm(m)
	}
	room, _ := s.f.p.roomOf(m.Channel)
	ticket, joined, err := s.confirm(room, m.Kind == "ssubscribe")
	if err != nil {
		return fmt.Errorf("%s of %q: %w", m.Kind, m.Channel, err)
	}
	if !joined || room == "" {
		return nil
	}
	return s.say(ctx, streams.FeedMessage{Joined: room, Ticket: ticket})
}

var errUnasked = errors.New("no command asked for it")

// confirm counts a confirmation, and reports whether the room is joined now.
func (s *session) confirm(room streams.Room, joins bool) (ticket uint64, joined bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.rooms[room]
	if sub == nil || sub.unconfirmed == 0 {
		return 0, false, errUnasked
	}
	sub.unconfirmed--
	if sub.unconfirmed > 0 {
		return 0, false, nil // a later command rules
	}
	if sub.joined != joins {
		return 0, false, errUnasked
	}
	if !joins {
		delete(s.rooms, room)
	}
	return sub.ticket, joins, nil
}

func (s *session) say(ctx context.Context, sig streams.FeedMessage) error {
	if !s.f.say(ctx, sig) {
		return ctx.Err()
	}
	return nil
}
