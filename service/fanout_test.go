package service_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// While a room offers an event to its members, other connections may subscribe, close, and
// ask for their position. These tests act in the middle of a fan-out: when the first
// connection of the room was notified, and the others were not.

// A listener is a live connection that counts its notifications.
type listener struct {
	*service.Subscription
	calls int
}

// listen follows room "a" from now and takes every item.
func listen(t *testing.T, node *service.Node, notify func()) *listener {
	t.Helper()
	l := new(listener)
	sub, err := node.Subscribe(t.Context(), []streams.Room{"a"}, replay.Now(), func() {
		l.calls++
		if notify != nil {
			notify()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Subscription = sub
	l.take(t)
	return l
}

func (l *listener) take(t *testing.T) (got []streams.ID) {
	t.Helper()
	for more := true; more; {
		batch, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(batch.Items)...)
		more = batch.More
	}
	return got
}

// duringFanOut runs test. The function that test passes to act runs in the middle of the
// next event's fan-out.
func duringFanOut(t *testing.T, test func(t *testing.T, log *memLog, node *service.Node, act func(func()))) {
	synctest.Test(t, func(t *testing.T) {
		log := newMemLog()
		node := service.New(log, nil)
		defer node.Close()
		var once func()
		first := listen(t, node, func() {
			if f := once; f != nil {
				once = nil
				f()
			}
		})
		defer first.Close()
		test(t, log, node, func(f func()) {
			first.take(t) // without this it would not be notified again
			once = f
		})
	})
}

// A connection that was not offered the event yet must not report a position past it: a
// client that resumed there would miss the event.
func TestPositionInARound(t *testing.T) {
	duringFanOut(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
		l := listen(t, node, nil)
		defer l.Close()
		var before replay.Cursor
		act(func() { before, _ = l.Position() })
		sent := log.publish("a", 1)
		synctest.Wait()
		if got := before.IDs(); len(got) != 1 || !got[0].Before(sent[0]) {
			t.Errorf("during the fan-out of %v the position is %v", sent, before)
		}
		if got := l.take(t); !slices.Equal(got, sent) {
			t.Errorf("got %v, want %v", got, sent)
		}
		if after, ok := l.Position(); !ok || after.IDs()[0] != sent[0] {
			t.Errorf("after the fan-out of %v the position is %v, %v", sent, after, ok)
		}
	})
}

// A subscription that closes during a fan-out is not notified, and the others still are.
func TestLeavingInARound(t *testing.T) {
	duringFanOut(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
		leaves := listen(t, node, nil)
		others := []*listener{listen(t, node, nil), listen(t, node, nil), listen(t, node, nil)}
		for _, l := range others {
			defer l.Close()
		}
		act(leaves.Close)
		sent := log.publish("a", 1)
		synctest.Wait()
		sent = append(sent, log.publish("a", 1)...)
		synctest.Wait()
		if leaves.calls != 0 {
			t.Errorf("the closed subscription was notified %d times", leaves.calls)
		}
		for i, l := range others {
			if got := l.take(t); !slices.Equal(got, sent) {
				t.Errorf("connection %d got %v, want %v", i, got, sent)
			}
		}
	})
}

// A subscription that starts during a fan-out starts after the event, or receives it once
// from the hot tail.
func TestSubscribingInARound(t *testing.T) {
	duringFanOut(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
		mark := log.publish("a", 1)
		synctest.Wait()
		var now *listener
		var back *service.Subscription
		act(func() {
			now = listen(t, node, nil)
			var err error
			back, err = node.Subscribe(t.Context(), []streams.Room{"a"}, replay.After(replay.CursorAt(mark[0])), func() {})
			if err != nil {
				t.Error(err)
			}
		})
		sent := log.publish("a", 1)
		synctest.Wait()
		defer now.Close()
		defer back.Close()
		later := log.publish("a", 1)
		synctest.Wait()
		if got := now.take(t); !slices.Equal(got, later) {
			t.Errorf("from now: %v, want %v", got, later)
		}
		if got := (&listener{Subscription: back}).take(t); !slices.Equal(got, append(sent, later...)) {
			t.Errorf("after %v: %v, want %v and %v", mark, got, sent, later)
		}
	})
}
