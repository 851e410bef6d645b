package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

const kib = 1 << 10

var largeData = bytes.Repeat([]byte("1"), 300*kib)

// newTestNode returns a node on an embedded log.
func newTestNode(t *testing.T, o Options) *Node {
	t.Helper()
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	o.Retention = []RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: 1000, Age: time.Hour}}}
	n := New(log, &o)
	t.Cleanup(n.Close)
	return n
}

// publish stores n events with so many bytes of data.
func (n *Node) publish(t *testing.T, room streams.Room, count, size int) (ids []streams.ID) {
	t.Helper()
	for range count {
		r := n.Publish(t.Context(), []streams.Draft{{Room: room, Type: "t", Data: largeData[:size]}})[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		ids = append(ids, r.ID)
	}
	return ids
}

// follow subscribes to rooms. The end of the test unsubscribes, if the test has not.
func (n *Node) follow(t *testing.T, start replay.Start, rooms ...streams.Room) (*Subscription, chan struct{}) {
	t.Helper()
	woken := make(chan struct{}, 1)
	s, err := n.Subscribe(t.Context(), rooms, start, func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !s.closed {
			s.Close()
		}
	})
	return s, woken
}

// await polls until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// sizeOf returns the data of a batch, in bytes.
func sizeOf(items []replay.Item) (bytes int) {
	for _, it := range items {
		if it.Event != nil {
			bytes += len(it.Event.Data)
		}
	}
	return bytes
}

// A hot tail holds at most hotBytes of data, whether the events arrive live or are read.
func TestHotTailIsBoundedInBytes(t *testing.T) {
	tail := hotTail{memory: newMemory(1 << 30)}
	var older []*streams.Event
	event := func(i int) *streams.Event {
		return &streams.Event{ID: streams.MakeID(1, uint64(i+1), 0), Prev: streams.MakeID(1, uint64(i), 0), Data: largeData[:60*kib]}
	}
	for i := range 100 {
		older = append(older, event(i))
	}
	tail.restart(older[99].ID)
	tail.prepend(older, streams.ID{})
	for i := range 100 {
		if tail.bytes > hotBytes || len(tail.events) != tail.bytes/(60*kib) || len(tail.events) < 17 {
			t.Fatalf("%d events with %d bytes in the hot tail, want as many as fit into %d", len(tail.events), tail.bytes, hotBytes)
		}
		tail.add(event(100+i), 1000)
	}
}

// The queue of a connection that takes nothing is bounded in bytes. The connection still
// gets everything, in order.
func TestQueueIsBoundedInBytes(t *testing.T) {
	n := newTestNode(t, Options{})
	s, woken := n.follow(t, replay.Now(), "a")
	s.goLive(t)
	ids := n.publish(t, "a", 60, 60*kib)
	await(t, "delivery", func() bool { return s.parts[0].offeredTo() == ids[59] })
	s.mu.Lock()
	held, overflowed := s.queue.bytes, s.parts[0].state == replaying
	s.mu.Unlock()
	if held > queueBytes || !overflowed {
		t.Errorf("%d bytes in the queue, overflowed %v; want at most %d, and true", held, overflowed, queueBytes)
	}
	s.takeAll(t, woken, ids)
}

// goLive takes batches until the subscription has nothing more.
func (s *Subscription) goLive(t *testing.T) {
	t.Helper()
	for more := true; more; {
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		more = b.More
	}
	if !s.allLive() {
		t.Fatal("the subscription is not live")
	}
}

// takeAll takes the items of a subscription until it has the events ids, and checks the size
// of each batch.
func (s *Subscription) takeAll(t *testing.T, woken chan struct{}, ids []streams.ID) {
	t.Helper()
	for len(ids) > 0 {
		b, err := s.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n := len(b.Items); n > 1 && !b.Live && sizeOf(b.Items[:n-1]) >= batchBytes {
			t.Fatalf("a batch has %d bytes of data, want at most one event after %d", sizeOf(b.Items), batchBytes)
		}
		for _, it := range b.Items {
			switch {
			case it.Event == nil:
				t.Fatalf("a gap notice: %+v", it.Gap)
			case len(ids) == 0 || it.Event.ID != ids[0]:
				t.Fatalf("event %s, want the first of %d: %s", it.Event.ID, len(ids), ids)
			}
			ids = ids[1:]
		}
		if !b.More && len(ids) > 0 {
			<-woken
		}
	}
}

// A batch is bounded in bytes, from hot tails and from the log.
func TestBatchIsBoundedInBytes(t *testing.T) {
	n := newTestNode(t, Options{})
	ids := n.publish(t, "a", 100, 60*kib)
	s, woken := n.follow(t, replay.Earliest(), "a") // the log, because the hot tail does not reach back
	s.takeAll(t, woken, ids)
	last := ids[len(ids)-12]
	s, woken = n.follow(t, replay.After(replay.CursorAt(last)), "a") // the hot tail
	s.takeAll(t, woken, ids[len(ids)-11:])
}

// The hot tails of all rooms together are bounded, and leaving the rooms frees their memory.
func TestHotTailsShareABound(t *testing.T) {
	const bound = 2 << 20
	n := newTestNode(t, Options{ReplayMemory: bound, CheckEvery: 5 * time.Millisecond, Linger: 10 * time.Millisecond})
	var subs []*Subscription
	for i := range 10 {
		room := streams.Room(fmt.Sprint("r", i))
		s, _ := n.follow(t, replay.Now(), room)
		subs = append(subs, s)
		ids := n.publish(t, room, 30, 20*kib) // 1.8 MiB with its encodings
		await(t, "delivery", func() bool { return s.parts[0].offeredTo() == ids[29] })
		if hot := n.memory.hot.Load(); hot > 2*bound {
			t.Fatalf("%d bytes in hot tails, want at most %d until the next check", hot, 2*bound)
		}
	}
	await(t, "the hot tails shrink to their bound", func() bool { return n.memory.hot.Load() <= bound })
	if n.memory.hot.Load() == 0 {
		t.Error("the hot tails are empty")
	}
	for _, s := range subs {
		s.Close()
	}
	await(t, "the hot tails are free", func() bool { return n.memory.hot.Load() == 0 && n.memory.rooms.Load() == 0 })
}

// Filling hot tails keeps within their bound too.
func TestFillsKeepWithinTheBound(t *testing.T) {
	const bound = 1 << 20
	n := newTestNode(t, Options{ReplayMemory: bound})
	for i := range 8 {
		n.publish(t, streams.Room(fmt.Sprint("r", i)), 30, 10*kib)
	}
	for i := range 8 {
		n.follow(t, replay.Earliest(), streams.Room(fmt.Sprint("r", i)))
		if hot := n.memory.hot.Load(); hot > bound {
			t.Fatalf("%d bytes in hot tails after %d fills, want at most %d", hot, i+1, bound)
		}
	}
	if n.memory.hot.Load() == 0 {
		t.Error("no hot tail was filled")
	}
}

// A node follows at most MaxFollowedRooms rooms. It leaves rooms that linger for new ones, and
// refuses new ones if none lingers.
func TestFollowedRoomsAreBounded(t *testing.T) {
	n := newTestNode(t, Options{MaxFollowedRooms: 3, Linger: time.Hour})
	subscribe := func(rooms ...streams.Room) (*Subscription, error) {
		return n.Subscribe(t.Context(), rooms, replay.Now(), func() {})
	}
	first, err := subscribe("a", "b", "c")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := subscribe("c", "d"); !errors.Is(err, ErrRoomsFull) {
		t.Fatalf("a fourth room: %v, %v; want ErrRoomsFull", s, err)
	}
	again, err := subscribe("c")
	if err != nil {
		t.Fatal("a followed room was refused:", err)
	}
	again.Close()
	first.Close()
	for i := range 10 {
		s, err := subscribe(streams.Room(fmt.Sprint("x", i)), streams.Room(fmt.Sprint("y", i)))
		if err != nil {
			t.Fatal("no room was left for a new one:", err)
		}
		s.Close()
	}
	if rooms := n.memory.rooms.Load(); rooms != 3 || len(n.pumps[0].registry.all()) != 3 {
		t.Errorf("%d rooms followed, want 3", rooms)
	}
	if n.pumps[0].registry.lookup("x9") == nil {
		t.Error("the newest room was left first")
	}
}

// heldLog holds every read of events until the test lets it go.
type heldLog struct {
	streams.Log
	reads chan chan struct{}
}

func (l heldLog) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if !limit.WithoutData {
		goOn := make(chan struct{})
		l.reads <- goOn
		<-goOn
	}
	return l.Log.After(ctx, room, after, through, limit)
}

// Replays that need more memory than the node has wait for each other, in order. Live
// delivery and positions do not wait.
func TestReplaysTakeTurns(t *testing.T) {
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	held := heldLog{log, make(chan chan struct{}, 10)}
	n := New(held, &Options{ReplayMemory: int64(replay.HeldBytes(1)), Hot: 1})
	defer n.Close()
	n.publish(t, "a", 20, 30*kib)

	first, _ := n.follow(t, replay.Earliest(), "a")
	second, woken := n.follow(t, replay.Earliest(), "a")
	third, _ := n.follow(t, replay.Earliest(), "a")
	taken := make(chan Batch, 1)
	go func() {
		b, err := first.Next(context.Background())
		if err != nil {
			t.Error(err)
		}
		taken <- b
	}()
	read := <-held.reads
	for range 2 { // asking again keeps the place in the queue
		if b, err := second.Next(t.Context()); !errors.Is(err, ErrBusy) || !second.AwaitsTurn() {
			t.Fatalf("%d items, %v; want ErrBusy", len(b.Items), err)
		}
	}
	if _, err := third.Next(t.Context()); !errors.Is(err, ErrBusy) {
		t.Fatalf("%v, want ErrBusy", err)
	}
	live, wokenLive := n.follow(t, replay.Now(), "a")
	live.goLive(t)
	ids := n.publish(t, "a", 1, 1)
	<-wokenLive
	live.takeAll(t, wokenLive, ids)

	close(read)
	if batch := <-taken; len(batch.Items) == 0 {
		t.Fatal("the first replay got nothing")
	}
	third.Close() // leaves the queue
	first.Encoded()
	<-woken // it is the second's turn
	go func() { close(<-held.reads) }()
	if b, err := second.Next(t.Context()); err != nil || len(b.Items) == 0 || second.AwaitsTurn() {
		t.Fatalf("the second replay got %d items, %v", len(b.Items), err)
	}
	second.Shed()
	if used, waiting := n.memory.used.Load(), n.memory.waiting.Load(); used != 0 || waiting != 0 {
		t.Errorf("%d bytes of replay memory are still in use, %d replays wait", used, waiting)
	}
}

// A client that is shed or closed at its turn gives the turn up.
func TestTurnIsGivenUp(t *testing.T) {
	for name, end := range map[string]func(*Subscription){"shed": (*Subscription).Shed, "close": (*Subscription).Close} {
		t.Run(name, func(t *testing.T) {
			n := newTestNode(t, Options{ReplayMemory: int64(replay.HeldBytes(1)), Hot: 1})
			n.publish(t, "a", 20, 30*kib)
			s, woken := n.follow(t, replay.Earliest(), "a")
			all, err := n.memory.acquire(t.Context(), n.memory.size)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Next(t.Context()); !errors.Is(err, ErrBusy) {
				t.Fatalf("%v, want ErrBusy", err)
			}
			n.memory.release(all)
			<-woken
			end(s)
			if used, waiting := n.memory.used.Load(), n.memory.waiting.Load(); used != 0 || waiting != 0 {
				t.Errorf("%d bytes of replay memory are still in use, %d replays wait", used, waiting)
			}
		})
	}
}

// A history request that gets no memory returns ErrBusy in the end.
func TestHistoryIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory(100)
		n, err := m.acquire(t.Context(), 1000)
		if n != 100 || err != nil {
			t.Fatalf("acquired %d, %v; want all 100", n, err)
		}
		began := time.Now()
		if _, err := m.acquire(t.Context(), 1); !errors.Is(err, ErrBusy) || time.Since(began) != turnWait {
			t.Errorf("%v after %v, want ErrBusy after %v", err, time.Since(began), turnWait)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := m.acquire(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("%v, want the context's error", err)
		}
		m.release(n)
		if n, err := m.acquire(t.Context(), 1); n != 1 || err != nil || m.contended() {
			t.Errorf("acquired %d, %v, contended %v", n, err, m.contended())
		}
	})
}

// Shed frees all memory of a client that does not read. When it reads again, it gets
// everything.
func TestShed(t *testing.T) {
	n := newTestNode(t, Options{Hot: 2})
	var ids []streams.ID
	rooms := []streams.Room{"a", "b", "c"}
	for range 30 {
		for _, room := range rooms {
			ids = append(ids, n.publish(t, room, 1, 20*kib)...)
		}
	}
	s, woken := n.follow(t, replay.Earliest(), rooms...)
	b, err := s.Next(t.Context())
	if err != nil || len(b.Items) == 0 || !s.readsAhead() {
		t.Fatalf("%d items, %v, read ahead %v", len(b.Items), err, s.readsAhead())
	}
	s.Shed()
	if s.readsAhead() || n.memory.used.Load() != 0 {
		t.Errorf("after Shed: read ahead %v, %d bytes of replay memory", s.readsAhead(), n.memory.used.Load())
	}
	s.takeAll(t, woken, ids[len(b.Items):])
	s.goLive(t)

	ids = n.publish(t, "b", 5, 20*kib)
	await(t, "delivery", func() bool { return s.parts[0].partition.registry.lookup("b").offeredTo() == ids[4] })
	s.Shed()
	if s.queue.bytes != 0 || len(s.queue.items) != 0 {
		t.Errorf("after Shed: %d items in the queue", len(s.queue.items))
	}
	ids = append(ids, n.publish(t, "b", 5, 20*kib)...)
	<-woken
	s.takeAll(t, woken, ids)
}

// A page of history ends by bytes. Following Next gives every event once, in both orders.
func TestHistoryPageIsBoundedInBytes(t *testing.T) {
	n := newTestNode(t, Options{})
	ids := n.publish(t, "a", 50, 60*kib)
	for _, c := range []struct{ newest, memory bool }{{false, false}, {true, false}, {true, true}} {
		if c.memory { // the hot tail holds the newest events
			n.follow(t, replay.Last(10), "a")
		}
		var got []streams.ID
		q := HistoryQuery{Limit: 1000, Newest: c.newest}
		for pages := 0; ; pages++ {
			page, err := n.History(t.Context(), "a", q)
			if err != nil || page.Truncated || pages > 10 {
				t.Fatalf("page %d: %v, truncated %v", pages, err, page.Truncated)
			}
			size := 0
			for _, e := range page.Events {
				size += len(e.Data)
				got = append(got, e.ID)
			}
			if size > HistoryBytes {
				t.Fatalf("a page has %d bytes of data, want at most %d", size, HistoryBytes)
			}
			if page.Next.IsZero() {
				break
			}
			q.After, q.Before = page.Next, streams.ID{}
			if c.newest {
				q.After, q.Before = streams.ID{}, page.Next
			}
		}
		if c.newest {
			for i, j := 0, len(got)-1; i < j; i, j = i+1, j-1 {
				got[i], got[j] = got[j], got[i]
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Errorf("newest first %v: %d events, want %d", c.newest, len(got), len(ids))
		}
	}
	if used := n.memory.used.Load(); used != 0 {
		t.Errorf("%d bytes of replay memory are still in use", used)
	}
}

// countingLog counts the data that reads return.
type countingLog struct {
	streams.Log
	bytes *atomic.Int64
}

func (l countingLog) count(p streams.Page, err error) (streams.Page, error) {
	for _, e := range p.Events {
		l.bytes.Add(int64(len(e.Data)))
	}
	return p, err
}

func (l countingLog) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	return l.count(l.Log.After(ctx, room, after, through, limit))
}

func (l countingLog) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	return l.count(l.Log.Before(ctx, room, before, limit))
}

// Clients that return to a new node read little more than they have missed, and clients that
// return to the same place read nothing.
func TestResumeReadsWhatIsMissed(t *testing.T) {
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var read atomic.Int64
	n := New(countingLog{log, &read}, nil)
	defer n.Close()
	ids := n.publish(t, "a", 100, 60*kib)
	delivered := int64(0)
	for i, missed := range []int{1, 1, 2, 5, 3, 20, 20, 20, 90, 90} {
		s, woken := n.follow(t, replay.After(replay.CursorAt(ids[99-missed])), "a")
		s.takeAll(t, woken, ids[100-missed:])
		s.Close()
		delivered += int64(missed) * 60 * kib
		if i < 3 && read.Load() != int64(missed)*60*kib {
			t.Errorf("after client %d, %d bytes were read, want those of %d events", i, read.Load(), missed)
		}
	}
	if read.Load() > delivered {
		t.Errorf("%d bytes read for %d delivered", read.Load(), delivered)
	}
}

// A hot tail lets go of the events that it has dropped.
func TestHotTailsKeepNothingElse(t *testing.T) {
	const bound = 4 << 20
	m := newMemory(bound)
	m.rooms.Store(200)
	tails := make([]hotTail, 200)
	kept := func() (bytes int) {
		for i := range tails {
			all := tails[i].events[:cap(tails[i].events)]
			if n := len(all); n > 0 { // the array may begin earlier: see cut
				for _, e := range all {
					if e != nil {
						bytes += hotSize(e)
					}
				}
			}
			bytes += tails[i].cut
		}
		return bytes
	}
	for i := range 8 {
		for k := range tails {
			tails[k].memory = m
			tails[k].add(&streams.Event{ID: streams.MakeID(uint64(i+1), uint64(k+1), 0), Data: largeData[:20*kib]}, 1000)
		}
	}
	for k := range tails {
		tails[k].trim(1000)
	}
	if got := kept(); m.hot.Load() > bound || got > bound*3/2 {
		t.Errorf("hot tails count %d bytes and keep %d, bound %d", m.hot.Load(), got, bound)
	}
}

// Rooms of every partition are left for a new room, and nothing of them is kept.
func TestRoomsAreLeftInEveryPartition(t *testing.T) {
	m := newMemory(1 << 20)
	counter := newMetrics(nil).rooms
	o := Options{MaxFollowedRooms: 10}.withDefaults()
	a, b := newRegistry(noFeed{}, &o, counter, m), newRegistry(noFeed{}, &o, counter, m)
	for i := range 100 {
		r, err := a.acquire(streams.Room(fmt.Sprint("r", i)))
		if err != nil {
			t.Fatal(err)
		}
		a.release(r)
	}
	r, err := b.acquire("other")
	if err != nil {
		t.Fatal("a room of another partition is in the way:", err)
	}
	defer b.release(r)
	if m.rooms.Load() != 10 || len(a.rooms) != 9 || a.unused.Len() != 9 {
		t.Errorf("%d rooms, %d and %d of them in a; want 10, 9, 9", m.rooms.Load(), len(a.rooms), a.unused.Len())
	}
}

// noFeed is a feed that does nothing.
type noFeed struct{ streams.Feed }

func (noFeed) Join(streams.Room, uint64) {}
func (noFeed) Leave(streams.Room)        {}

// A replay does not wait for the fills of other rooms. It reads the log without one.
func TestReplayWithoutFill(t *testing.T) {
	n := newTestNode(t, Options{})
	ids := n.publish(t, "a", 10, 30*kib)
	other, woken := n.follow(t, replay.Now(), "a")
	other.goLive(t)
	if !n.memory.fills.TryAcquire(n.memory.size / fillShare) {
		t.Fatal("a fill is running")
	}
	s, wokenToo := n.follow(t, replay.Earliest(), "a")
	s.takeAll(t, wokenToo, ids)
	ids = n.publish(t, "a", 1, 1)
	<-woken
	other.takeAll(t, woken, ids)
}

// While the feed still holds events of one room, a recovery may have read later events of
// another one from the log. The hot tails of both do not show one moment up to these.
func TestHotTailsOfARecoveryAreNotOneMoment(t *testing.T) {
	n := newTestNode(t, Options{CheckEvery: time.Hour})
	s, _ := n.follow(t, replay.Now(), "a", "b")
	s.goLive(t)
	p, ps := n.pumps[0], s.parts[0]
	a, b := p.registry.lookup("a"), p.registry.lookup("b")
	end := func() streams.ID {
		defer ps.lockRooms()()
		return ps.commonEnd()
	}
	event := func(r *room, millis uint64) *streams.Event {
		at, _ := r.position()
		return &streams.Event{ID: streams.MakeID(at.Millis()+millis, 1, 0), Prev: at, Room: r.name, Data: largeData[:1]}
	}
	live := event(b, 1000)
	p.deliver(b, live, true)
	if end() != live.ID {
		t.Fatalf("after a live event the rooms are complete up to %s, want %s", end(), live.ID)
	}
	p.deliver(a, event(a, 9000), false) // read by the recovery
	if end() != live.ID {
		t.Errorf("the rooms count as complete up to %s, but the feed may hold events of b after %s", end(), live.ID)
	}
}
