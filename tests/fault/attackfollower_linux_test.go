package fault_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// A follower is a stranger that follows rooms, on one connection after the other.
type follower struct {
	s     *strangers
	over  transport
	rooms []string
	fresh bool // each connection also follows a new room

	connections int // owned by the goroutine in follow

	mu     sync.Mutex // guards the fields below
	from   string     // first position
	cursor string
	ids    []string // of the events received
}

func newFollower(s *strangers, over transport, rooms ...string) *follower {
	return &follower{s: s, over: over, rooms: rooms}
}

// stay keeps a connection until ctx ends. The node must not end it.
func (f *follower) stay(ctx context.Context) {
	for ctx.Err() == nil {
		f.follow(ctx, false)
	}
}

// follow connects, and returns when the connection is live (if once is set), or when ctx
// ends.
func (f *follower) follow(ctx context.Context, once bool) {
	readLimit := ctx
	if once {
		var stop context.CancelFunc
		readLimit, stop = context.WithTimeout(ctx, strangerLimit)
		defer stop()
	}
	if err := f.connect(readLimit, once); err != nil && ctx.Err() == nil {
		f.s.fault("%v connection: %v", f.over, err)
		pause(ctx, 100*time.Millisecond)
	}
}

func (f *follower) connect(ctx context.Context, once bool) error {
	f.connections++
	rooms := f.rooms
	if f.fresh {
		rooms = append(slices.Clone(rooms), fmt.Sprintf("fresh-%d", f.connections))
	}
	var conn net.Conn
	dialer := f.s.v.dialer(followerAddr)
	dial := func(ctx context.Context, network, addr string) (c net.Conn, err error) {
		conn, err = dialer(ctx, network, addr)
		return conn, err
	}
	f.mu.Lock()
	cursor := f.cursor
	f.mu.Unlock()
	var stream follow.Stream
	if f.over == overWebSocket {
		socket, err := ws.Dial(f.s.v.server.URL(), ws.Options{Token: f.s.token, Dial: dial, Timeout: strangerLimit})
		if err != nil {
			return err
		}
		defer follow.Reset(conn)
		if err := socket.Subscribe(rooms[0], cursor); err != nil {
			return err
		}
		stream = follow.FromWebSocket(socket)
	} else {
		if _, err := dial(ctx, "tcp", f.s.v.server.Addr); err != nil {
			return err
		}
		defer follow.Reset(conn)
		leave := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		defer leave()
		var err error
		if stream, err = follow.Open(follow.SSE, conn, follow.Request{Rooms: rooms, Cursor: cursor, Token: f.s.token}); err != nil {
			return err
		}
	}
	leave := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer leave()
	for {
		m, err := stream.Next()
		if err != nil {
			return err
		}
		if err := f.take(m); err != nil {
			return err
		}
		if once && m.Kind == follow.Live {
			return nil
		}
	}
}

// take records a message. It returns an error if the node refuses the follower.
func (f *follower) take(m follow.Message) error {
	switch m.Kind {
	case follow.Error, follow.Closed:
		return fmt.Errorf("refused: %s %s", m.Code, m.Detail)
	case follow.Gap:
		f.s.fault("gap notice %s", m.Reason)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if m.Kind == follow.Event {
		f.ids = append(f.ids, m.ID)
	}
	if m.Cursor != "" {
		if f.cursor == "" {
			f.from = m.Cursor
		}
		f.cursor = m.Cursor
	}
	return nil
}

// owed returns the ids of the events that the follower must have.
func (f *follower) owed() []string {
	f.mu.Lock()
	from := f.from
	f.mu.Unlock()
	return slices.DeleteFunc(f.s.idsOf(f.rooms), func(id string) bool { return id <= from })
}

// complete reports whether the follower has the last event that it must have.
func (f *follower) complete() bool {
	owed := f.owed()
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(owed) == 0 || len(f.ids) > 0 && f.ids[len(f.ids)-1] >= owed[len(owed)-1]
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// check compares the events received with those published.
func (f *follower) check() (faults []string) {
	owed := f.owed()
	f.mu.Lock()
	defer f.mu.Unlock()
	missing, repeated, disordered := 0, 0, 0
	seen := make(map[string]bool, len(f.ids))
	for i, id := range f.ids {
		if seen[id] {
			repeated++
		} else if i > 0 && id < f.ids[i-1] {
			disordered++
		}
		seen[id] = true
	}
	for _, id := range owed {
		if !seen[id] {
			missing++
		}
	}
	if missing+repeated+disordered > 0 {
		faults = append(faults, fmt.Sprintf("a stranger of %v over %v: %d of %d events missing, %d repeated, %d out of order",
			f.rooms, f.over, missing, len(owed), repeated, disordered))
	}
	return faults
}
