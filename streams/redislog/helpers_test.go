package redislog

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// waitLimit bounds waits for an expected event. It does not measure speed.
const waitLimit = 20 * time.Second

func draft(room streams.Room, data string) streams.Draft {
	return streams.Draft{
		Room: room, Type: streams.DefaultType, Data: []byte(data),
		Retention: streams.Retention{Events: 1000, Age: time.Hour},
	}
}

func keyed(room streams.Room, data, key string) streams.Draft {
	d := draft(room, data)
	d.Key = key
	return d
}

// roomOfFirst returns a room of partition 0 of n.
func roomOfFirst(n int) streams.Room {
	for i := 0; ; i++ {
		if room := streams.Room("r" + strconv.Itoa(i)); room.Partition(n) == 0 {
			return room
		}
	}
}

// put appends one draft that must succeed.
func put(t testing.TB, l *Log, d streams.Draft) streams.ID {
	t.Helper()
	r := l.Append(context.Background(), []streams.Draft{d})[0]
	if r.Err != nil {
		t.Fatalf("append to %q: %v", d.Room, r.Err)
	}
	return r.ID
}

// refusedBy appends one draft that must fail with want.
func refusedBy(t testing.TB, l *Log, d streams.Draft, want error) {
	t.Helper()
	if r := l.Append(context.Background(), []streams.Draft{d})[0]; !errors.Is(r.Err, want) {
		t.Errorf("append to %q: %+v, want %v", d.Room, r, want)
	}
}

// watermarks returns the watermarks of partition 0.
func watermarks(t testing.TB, l *Log, rooms ...streams.Room) streams.Watermarks {
	t.Helper()
	e, err := l.Watermarks(context.Background(), 0, rooms)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// all returns the whole room.
func all(t testing.TB, l *Log, room streams.Room) []*streams.Event {
	t.Helper()
	end := streams.MakeID(math.MaxUint64, math.MaxUint64, math.MaxUint16)
	page, err := l.After(context.Background(), room, streams.ID{}, end, upTo(100_000))
	if err != nil {
		t.Fatal(err)
	}
	return page.Events
}

// upTo returns a limit of n events, of any size.
func upTo(n int) streams.ReadLimit { return streams.ReadLimit{Events: n, Bytes: 1 << 30} }

// next returns the feed's next message.
func next(t testing.TB, f streams.Feed) streams.FeedMessage {
	t.Helper()
	select {
	case s := <-f.Messages():
		return s
	case <-time.After(waitLimit):
		t.Fatal("the feed delivered no message")
		panic("unreachable")
	}
}

// joined waits until the feed has announced room with ticket. It drops other messages.
func joined(t testing.TB, f streams.Feed, room streams.Room, ticket uint64) {
	t.Helper()
	for {
		if s := next(t, f); s.Joined == room && s.Ticket == ticket {
			return
		}
	}
}

// lost waits for Lost. It drops other messages.
func lost(t testing.TB, f streams.Feed) {
	t.Helper()
	for !next(t, f).Lost {
	}
}

// nextIs checks that the feed's next message is the event id.
func nextIs(t testing.TB, f streams.Feed, id streams.ID) {
	t.Helper()
	if s := next(t, f); s.Event == nil || s.Event.ID != id {
		t.Errorf("the feed delivered %s, want event %s", describe(s), id)
	}
}

func describe(s streams.FeedMessage) string {
	if s.Event != nil {
		return fmt.Sprintf("event %s %s", s.Event.ID, s.Event.Data)
	}
	return fmt.Sprintf("%+v", s)
}

// follow opens a feed of the room's partition and joins room.
func follow(t testing.TB, l *Log, room streams.Room) streams.Feed {
	t.Helper()
	f := l.Feed(room.Partition(l.Partitions()))
	t.Cleanup(f.Close)
	f.Join(room, 1)
	joined(t, f, room, 1)
	return f
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	deadline := time.After(waitLimit)
	for !cond() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within %v: %s", waitLimit, what)
		}
	}
}
