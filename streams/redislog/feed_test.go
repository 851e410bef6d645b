package redislog

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/internal/backlog"
)

func unconnectedFeed() *feed { return newFeed(nil, nil, func(*feed) {}) }

// A feed whose reader does not read holds a bounded number of bytes, and then waits. The
// reader still gets every event in order, also one that is larger than the bound.
func TestUnreadMessagesAreBoundedInBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := unconnectedFeed()
		const size, n = 64 << 10, 3 * maxMessageBytes / (64 << 10)
		var sending = make(chan struct{})
		go func() {
			defer close(sending)
			for i := range n {
				bytes := size
				if i == n/2 {
					bytes = 2 * maxMessageBytes
				}
				e := &streams.Event{ID: streams.MakeID(uint64(i+1), 1, 0), Data: make([]byte, bytes)}
				if !f.send(t.Context(), streams.FeedMessage{Event: e}) {
					t.Error("send gave up")
				}
			}
		}()
		synctest.Wait()
		if got, want := len(f.messages), maxMessageBytes/size; got != want {
			t.Errorf("%d unread events of %d bytes, want %d", got, size, want)
		}
		for i := range n {
			if i == n/2-1 || i == n/2 { // the event before the large one, and the large one
				time.Sleep(2 * backlog.Poll) // until the sender has looked again
				if got := len(f.messages); got != 1 {
					t.Errorf("event %d is unread together with %d others, want it alone", i+1, got-1)
				}
			}
			m := <-f.messages
			if m.Event.ID.Millis() != uint64(i+1) {
				t.Fatalf("event %d comes as the %dth", m.Event.ID.Millis(), i+1)
			}
		}
		<-sending
	})
}

// A feed without a connection forgets the rooms that are joined and left. The next session
// starts with the rooms that are joined then.
func TestUnconnectedFeedForgetsLeftRooms(t *testing.T) {
	f := unconnectedFeed()
	f.Join("stays", 1)
	churn := func() {
		for i := range 1000 {
			room := streams.Room("r" + strconv.Itoa(i))
			f.Join(room, 1)
			f.Leave(room)
		}
	}
	churn()
	if len(f.changed) != 0 || len(f.want) != 1 {
		t.Errorf("%d changed rooms and %d joined, want 0 and 1", len(f.changed), len(f.want))
	}
	f.beginSession()
	if changes := f.takeChanges(); len(changes) != 1 || changes[0] != (change{"stays", true, 1}) {
		t.Errorf("a session begins with the changes %v", changes)
	}
	churn()
	f.Join("late", 2)
	if changes := f.takeChanges(); len(changes) != 1001 {
		t.Errorf("a session gets %d changes, want those of 1001 rooms", len(changes))
	}
	churn()
	f.endSession()
	churn()
	if len(f.changed) != 0 {
		t.Errorf("%d changed rooms without a session", len(f.changed))
	}
}
