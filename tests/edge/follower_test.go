//go:build linux

package edge

import (
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/follow"
)

// transports are the transports of these tests' followers.
func transports() []follow.Transport { return []follow.Transport{follow.SSE, follow.WebSocket} }

// retryDelay is how long a follower waits before it connects again.
const retryDelay = 100 * time.Millisecond

// A follower follows one room, and checks the ids of the events.
type follower struct {
	*follow.Client
	t    testing.TB
	over follow.Transport
}

// followOptions tune a follower.
type followOptions struct {
	over     follow.Transport
	room     string
	cursor   string // where to start; "" means from now
	dial     func() (*conn, error)
	resumes  bool            // it connects again when its connection ends
	paused   <-chan struct{} // if set, it reads nothing after the first message until this is closed
	rejected func()          // if set, called when the server ends the connection
}

// followRoom starts a follower, and returns once it is connected. It leaves with the test.
func followRoom(t testing.TB, o followOptions) *follower {
	t.Helper()
	f := &follower{t: t, over: o.over}
	connected := make(chan struct{})
	options := follow.Options{Transport: o.over, Rooms: []string{o.room}, Cursor: o.cursor}
	options.Dial = func() (net.Conn, error) {
		c, err := o.dial()
		if err != nil {
			return nil, err
		}
		return c, c.SetDeadline(time.Time{}) // the room may be quiet
	}
	if o.resumes {
		options.Retry = retryDelay
	}
	options.OnMessage = func(m follow.Message) error {
		<-connected
		return f.take(o, m)
	}
	f.Client = follow.Start(t, options)
	close(connected)
	f.Await("to be connected", func(s *follow.State) bool { return s.Opens > 0 })
	return f
}

// take handles a message as the options say.
func (f *follower) take(o followOptions, m follow.Message) error {
	switch m.Kind {
	case follow.Opened:
		if o.paused != nil {
			select {
			case <-o.paused:
			case <-f.Quit():
			}
		}
	case follow.Error, follow.Closed:
		if o.rejected != nil {
			o.rejected()
		}
		if m.Kind == follow.Error && o.over == follow.WebSocket {
			return errors.New(m.Code)
		}
	}
	return nil
}

// address is the client's end of the connection.
func (f *follower) address() string { return f.Conn().LocalAddr().String() }

// connections counts the connections so far.
func (f *follower) connections() int { return f.Record().Opens }

// exactly waits for the last of want, and fails the test unless f has received exactly
// those events, in order, and no gap notice.
func (f *follower) exactly(want []string) {
	f.t.Helper()
	if len(want) == 0 {
		f.t.Fatalf("%v: nothing was published", f.over)
	}
	last := want[len(want)-1]
	f.Await("the last event", func(s *follow.State) bool {
		return slices.Contains(s.IDs[max(0, len(s.IDs)-atOnce):], last)
	})
	s := f.Record()
	if d := logtest.Compare(want, s.IDs); !d.OK() {
		f.t.Errorf("%v: %v", f.over, d)
	}
	for _, m := range s.Messages {
		switch m.Kind {
		case follow.Opened, follow.Event, follow.Live, follow.Position, follow.Error, follow.Closed:
		default:
			f.t.Errorf("%v: unexpected message %+v", f.over, m)
		}
	}
}

// stayed fails the test if the connection did not last.
func (f *follower) stayed() {
	f.t.Helper()
	if s := f.Record(); s.Opens != 1 || s.Err != nil {
		f.t.Errorf("%v: %d connections, the last one ended with: %v", f.over, s.Opens, s.Err)
	}
}

// rejections returns the messages with which the server ended connections of the
// follower.
func (f *follower) rejections() []follow.Message {
	s := f.Record()
	return rejectionsIn(&s)
}

func rejectionsIn(s *follow.State) []follow.Message {
	return slices.DeleteFunc(slices.Clone(s.Messages), func(m follow.Message) bool {
		return m.Kind != follow.Error && m.Kind != follow.Closed
	})
}
