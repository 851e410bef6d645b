package recovery

import (
	"context"
	"errors"
	"time"
)

// A trial breaks something and counts what the clients received.
type trial struct {
	number  int
	title   string
	history int      // events that the room keeps
	groups  []string // names of the groups that share the clients; nil means one group
	clients int      // most clients; 0 means no limit
	run     func(ctx context.Context, s *stage) error
}

const (
	longHistory  = 25_000 // more events than any trial but trial 5 publishes
	shortHistory = 1_000
	slowClients  = 10                    // each receives 20 MB
	pause        = 10 * time.Millisecond // between two publishes of a trial that goes on for a time
)

var trials = []trial{
	{number: 1, title: "Connection cut for 5 s", history: longHistory, run: func(ctx context.Context, s *stage) error {
		return s.cutAndReturn(ctx, 200, 25*time.Millisecond, s.nodes[0])
	}},
	{number: 2, title: "Cut for 5 s, resumed on another node", history: longHistory, run: func(ctx context.Context, s *stage) error {
		return s.cutAndReturn(ctx, 200, 25*time.Millisecond, s.nodes[1])
	}},
	{number: 3, title: "Node killed 3 times", history: longHistory, run: func(ctx context.Context, s *stage) error {
		return s.killWhilePublishing(ctx, s.nodes[0].kill, s.nodes[0].start)
	}},
	{number: 4, title: "Redis killed 3 times", history: longHistory, run: func(ctx context.Context, s *stage) error {
		return s.killWhilePublishing(ctx, s.redis.kill, s.redis.start)
	}},
	{number: 5, title: "Away for 1,500 events, history of 1,000", history: shortHistory, run: func(ctx context.Context, s *stage) error {
		return s.cutAndReturn(ctx, 1500, 0, s.nodes[0])
	}},
	{number: 6, title: "Nodes lose their Redis subscription, then silence", history: longHistory, run: loseSubscriptions},
	{number: 7, title: "Redis loses its last 50 events", history: longHistory, groups: []string{"connected", "away"}, run: loseEvents},
	{number: 8, title: "Client reads nothing while 20,000 events arrive", history: longHistory, clients: slowClients, run: readNothing},
}

// cutAndReturn cuts all connections, publishes, and lets the clients connect to a node.
func (s *stage) cutAndReturn(ctx context.Context, events int, pause time.Duration, to *node) error {
	g, p := s.groups[0], s.proxies[0]
	before := g.opened()
	p.cut()
	if err := s.publisher.publish(ctx, events, pause); err != nil {
		return err
	}
	if err := p.restore(to.addr); err != nil {
		return err
	}
	g.waitOpen(before, openTime)
	return s.finish(ctx)
}

// killWhilePublishing kills and starts something three times. Publishing goes on until
// 5 s after the last start, and until each client receives events again.
func (s *stage) killWhilePublishing(ctx context.Context, kill func(), start func(context.Context) error) error {
	stop, published := make(chan struct{}), make(chan error, 1)
	go func() { published <- s.publisher.publishUntil(ctx, stop, pause) }()
	broken := func() error {
		for range 3 {
			time.Sleep(2 * time.Second)
			kill()
			time.Sleep(time.Second)
			if err := start(ctx); err != nil {
				return err
			}
			time.Sleep(2 * time.Second)
		}
		time.Sleep(5 * time.Second)
		s.groups[0].waitActive(openTime)
		return nil
	}()
	close(stop)
	if err := errors.Join(broken, <-published); err != nil {
		return err
	}
	return s.finish(ctx)
}

// loseSubscriptions closes the connections on which the nodes receive events, every
// 300 ms for 5 s, and publishes meanwhile. Then nothing is published. The clients have at
// least 15 s, and up to 60 s after the last event that any of them receives.
func loseSubscriptions(ctx context.Context, s *stage) error {
	stop, published := make(chan struct{}), make(chan error, 1)
	go func() { published <- s.publisher.publishUntil(ctx, stop, pause) }()
	killed, err := 0, error(nil)
	for range 16 {
		n, failed := s.redis.killReceivers()
		killed, err = killed+n, errors.Join(err, failed)
		time.Sleep(300 * time.Millisecond)
	}
	close(stop)
	if err := errors.Join(err, <-published); err != nil {
		return err
	}
	if killed == 0 {
		return errors.New("no subscription was found in Redis")
	}
	time.Sleep(15 * time.Second)
	s.groups[0].waitEvent(s.publisher.sent, endTime)
	return nil
}

// loseEvents replaces Redis by a copy without the last 50 events. One group of clients
// stays connected. The other has received 10 of these events when it is disconnected; it
// returns after 50 more events have been published. These take 12.5 s, so that a system
// that compares positions every few seconds can find the loss.
func loseEvents(ctx context.Context, s *stage) error {
	if err := s.redis.save(); err != nil {
		return err
	}
	if err := s.publisher.publish(ctx, 10, pause); err != nil {
		return err
	}
	for _, g := range s.groups {
		if !g.waitEvent(s.publisher.sent, endTime) {
			return errors.New("not all clients received the events before the loss")
		}
	}
	away, before := s.groups[1], s.groups[1].opened()
	s.proxies[1].cut()
	if err := s.publisher.publish(ctx, 40, pause); err != nil {
		return err
	}
	s.groups[0].waitEvent(s.publisher.sent, endTime)
	s.redis.kill()
	if err := s.redis.restore(); err != nil {
		return err
	}
	if err := s.redis.start(ctx); err != nil {
		return err
	}
	if err := s.publisher.publish(ctx, 50, 250*time.Millisecond); err != nil {
		return err
	}
	if err := s.proxies[1].restore(s.nodes[0].addr); err != nil {
		return err
	}
	away.waitOpen(before, openTime)
	return s.finish(ctx)
}

// readNothing publishes 20,000 events of 1 KiB while the clients read nothing, for at
// least 30 s.
func readNothing(ctx context.Context, s *stage) error {
	s.proxies[0].stall(true)
	begin := time.Now()
	s.publisher.size = 1000
	if err := s.publisher.publish(ctx, 20_000, 0); err != nil {
		return err
	}
	time.Sleep(time.Until(begin.Add(30 * time.Second)))
	s.proxies[0].stall(false)
	s.groups[0].waitEvent(s.publisher.sent, endTime)
	s.publisher.size = 0
	return s.finish(ctx)
}
