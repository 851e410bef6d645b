package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	room = "room" // that all clients follow

	warmUp   = 20               // events before anything breaks, so that each client has a position
	closing  = 10               // events after everything works again
	openTime = 60 * time.Second // for all clients to subscribe
	endTime  = 60 * time.Second // without any event, before a wait for the last event ends
	settle   = 3 * time.Second  // for repeated events to arrive
)

// A stage is what a trial runs on: Redis, two nodes, clients, and a publisher.
type stage struct {
	redis     *redis
	nodes     [2]*node
	proxies   []*proxy // one per group
	groups    []*group
	publisher *publisher
}

// newStage starts everything and publishes the first events. The sizes are the numbers
// of clients of each group.
func newStage(ctx context.Context, p peer, packages, dir string, history int, sizes ...int) (s *stage, err error) {
	s = &stage{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.redis, err = newRedis(dir); err != nil {
		return s, err
	}
	if err := s.redis.start(ctx); err != nil {
		return s, err
	}
	for i := range s.nodes {
		if s.nodes[i], err = newNode(p, fmt.Sprintf("n%d", i+1), dir, s.redis, history); err != nil {
			return s, err
		}
		if err := s.nodes[i].start(ctx); err != nil {
			return s, err
		}
	}
	s.publisher = &publisher{system: p, room: room, addrs: []string{s.nodes[0].addr, s.nodes[1].addr}}
	for _, size := range sizes {
		if err := s.addGroup(p.name(), packages, size); err != nil {
			return s, err
		}
	}
	return s, s.warmUp(ctx)
}

func (s *stage) addGroup(system, packages string, size int) error {
	proxy, err := newProxy(s.nodes[0].addr)
	if err != nil {
		return err
	}
	s.proxies = append(s.proxies, proxy)
	g, err := startGroup(packages, system, proxy.addr, room, size)
	if err != nil {
		return err
	}
	s.groups = append(s.groups, g)
	if !g.waitOpen(make([]int, size), openTime) {
		return errors.New("not all clients could subscribe")
	}
	return nil
}

// warmUp publishes the first events. All clients must receive them.
func (s *stage) warmUp(ctx context.Context) error {
	if err := s.publisher.publish(ctx, warmUp, 0); err != nil {
		return err
	}
	for _, g := range s.groups {
		if !g.waitEvent(warmUp, endTime) {
			return fmt.Errorf("not all clients received the first %d events: %+v %v", warmUp, g.count(warmUp), g.describe())
		}
	}
	return nil
}

// finish publishes the closing events and waits until all clients have the last one.
func (s *stage) finish(ctx context.Context) error {
	if err := s.publisher.publish(ctx, closing, 10*time.Millisecond); err != nil {
		return err
	}
	for _, g := range s.groups {
		g.waitEvent(s.publisher.sent, endTime)
	}
	time.Sleep(settle)
	return nil
}

// close stops everything.
func (s *stage) close() {
	for _, g := range s.groups {
		g.stop()
	}
	for _, p := range s.proxies {
		p.close()
	}
	for _, n := range s.nodes {
		if n != nil {
			n.kill()
		}
	}
	if s.redis != nil {
		s.redis.kill()
	}
}

// inDir calls f with an empty directory and removes it afterwards.
func inDir(f func(dir string) error) error {
	dir, err := os.MkdirTemp("", "recovery")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return f(dir)
}
