package service_test

import (
	"slices"
	"testing"
	"testing/synctest"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// While an event is handed round a room, nobody is kept from coming, from leaving and
// from asking how far they are. What happens in these tests happens in the middle of a
// round: when the first of the room's connections is notified, and the others are not.

// A listener is a live connection, and what it was notified of.
type listener struct {
	*service.Subscription
	calls int
}

// listen follows room "a" from now, and has everything taken.
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

// inRound runs test with act being called in the middle of the round of an event.
func inRound(t *testing.T, test func(t *testing.T, log *memLog, node *service.Node, act func(func()))) {
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
			first.take(t) // or it would not be notified again
			once = f
		})
	})
}

// A connection that the event has not come to yet must not say that it is past it:
// it would never be given it.
func TestPositionInARound(t *testing.T) {
	inRound(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
		l := listen(t, node, nil)
		defer l.Close()
		var before replay.Cursor
		act(func() { before, _ = l.Position() })
		sent := log.publish("a", 1)
		synctest.Wait()
		if got := before.IDs(); len(got) != 1 || !got[0].Before(sent[0]) {
			t.Errorf("in the round of %v the position is %v", sent, before)
		}
		if got := l.take(t); !slices.Equal(got, sent) {
			t.Errorf("got %v, want %v", got, sent)
		}
		if after, ok := l.Position(); !ok || after.IDs()[0] != sent[0] {
			t.Errorf("after the round of %v the position is %v, %v", sent, after, ok)
		}
	})
}

// Whoever leaves is not notified any more, and takes nobody's place.
func TestLeavingInARound(t *testing.T) {
	inRound(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
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
			t.Errorf("the one who left was notified %d times", leaves.calls)
		}
		for i, l := range others {
			if got := l.take(t); !slices.Equal(got, sent) {
				t.Errorf("connection %d got %v, want %v", i, got, sent)
			}
		}
	})
}

// Whoever comes stands after the event, or has it from the hot tail: once.
func TestComingInARound(t *testing.T) {
	inRound(t, func(t *testing.T, log *memLog, node *service.Node, act func(func())) {
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
