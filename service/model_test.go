package service_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A testClient takes the items of a subscription and checks them as far as one client can.
// It can be stalled and disconnected.
type testClient struct {
	name  string
	rooms []streams.Room
	sub   *service.Subscription
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	gate  chan struct{} // holds a token; taking it stalls the client

	mu       sync.Mutex // guards the fields below
	cursor   replay.Cursor
	items    []replay.Item // received on this connection
	wentLive int           // batches with ReplayDone
	failed   error
}

// keepAlive is the period in which an idle client asks for its position.
const keepAlive = 700 * time.Millisecond

// follow connects a client.
func follow(node *service.Node, name string, rooms []streams.Room, start replay.Start) (*testClient, error) {
	f := &testClient{
		name: name, rooms: rooms,
		wake: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}),
		gate: make(chan struct{}, 1),
	}
	sub, err := node.Subscribe(context.Background(), rooms, start, func() {
		select {
		case f.wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return nil, err
	}
	f.sub, f.cursor = sub, sub.InitialCursor()
	f.gate <- struct{}{}
	go f.run()
	return f, nil
}

func (f *testClient) run() {
	defer close(f.done)
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		<-f.gate
		batch, ok := f.sub.Ready()
		var err error
		if !ok {
			batch, err = f.sub.Next(context.Background())
		}
		unavailable := errors.Is(err, streams.ErrUnavailable)
		if !unavailable && !errors.Is(err, service.ErrBusy) { // notify is called after ErrBusy
			f.take(batch, err)
		}
		f.gate <- struct{}{}
		wake := f.wake
		var again <-chan time.Time
		switch {
		case unavailable:
			wake, again = nil, time.After(100*time.Millisecond)
		case batch.More:
			again = closedTime
		}
		if !f.wait(wake, again, tick.C) {
			return
		}
	}
}

// closedTime is always ready.
var closedTime = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// wait returns true when the client must take again, and false when it must end. It sends
// keep-alives meanwhile. These do not take: only notify leads to that, as for a WebSocket.
func (f *testClient) wait(wake chan struct{}, again, tick <-chan time.Time) bool {
	for {
		select {
		case <-f.quit:
			return false
		default:
		}
		select {
		case <-wake:
			return true
		case <-again:
			return true
		case <-tick:
			<-f.gate
			f.keepAlive()
			f.gate <- struct{}{}
		case <-f.quit:
			return false
		}
	}
}

func (f *testClient) keepAlive() {
	c, ok := f.sub.Position()
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Position(0).Before(f.cursor.Position(0)) {
		f.failed = fmt.Errorf("the keep-alive moves the cursor back from %v to %v", f.cursor, c)
	}
	f.cursor = c
}

func (f *testClient) take(b service.Batch, err error) {
	f.mu.Lock()
	f.failed = errors.Join(f.failed, err)
	for _, it := range b.Items {
		if e := it.Event; e != nil && len(e.Data) == 0 {
			f.failed = errors.Join(f.failed, fmt.Errorf("event %v has no data", seq(e.ID)))
		}
		if e := it.Event; e != nil && !f.cursor.Position(0).Before(e.ID) {
			f.failed = errors.Join(f.failed, fmt.Errorf("repeated: %v at cursor %v", seq(e.ID), f.cursor))
		}
		f.cursor = f.cursor.With(it.Position)
	}
	f.items = append(f.items, b.Items...)
	if b.ReplayDone {
		f.wentLive++
	}
	f.mu.Unlock()
	if b.ReplayDone {
		f.keepAlive() // the live block carries the position
	}
}

// cut disconnects the client and returns its cursor.
func (f *testClient) cut() replay.Cursor {
	close(f.quit)
	<-f.done
	f.sub.Close()
	return f.cursor
}

// verify checks the items of one connection, from its initial cursor to upTo.
func (l *memLog) verify(f *testClient, upTo streams.ID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return f.failed
	}
	opened := f.sub.InitialCursor().Position(0)
	pos := map[streams.Room]streams.ID{}
	for _, r := range f.rooms {
		pos[r] = opened
	}
	var last streams.ID
	var gaps []gap
	for _, it := range f.items {
		if g := (gap{it.Gap}); it.Gap != nil {
			if err := l.justified(it.Gap); err != nil {
				return err
			}
			if g.Reason != replay.UnknownCursor && (l.redundant(it.Gap, pos[g.Room]) || slices.ContainsFunc(gaps, g.within)) {
				return fmt.Errorf("a redundant gap notice: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
			}
			gaps = append(gaps, g)
			pos[g.Room] = streams.Later(pos[g.Room], g.Before)
			continue
		}
		e := it.Event
		switch {
		case e.ID == last:
			return fmt.Errorf("repeated: %v", seq(e.ID))
		case e.ID.Before(last):
			return fmt.Errorf("out of order: %v after %v", seq(e.ID), seq(last))
		}
		last = e.ID
		if err := l.nothingBetween(e.Room, pos[e.Room], e.ID); err != nil {
			return err
		}
		pos[e.Room] = e.ID
	}
	for r, p := range pos {
		if err := l.nothingBetween(r, p, upTo.Next()); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	return nil
}

// redundant reports whether a gap notice tells nothing to a client that has every event up to
// pos. A notice of unrecorded events is never redundant.
func (l *memLog) redundant(g *replay.Gap, pos streams.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !pos.Before(g.Before) && !g.After.Before(l.unrecordedBefore)
}

type gap struct{ *replay.Gap }

// within reports whether other includes g.
func (g gap) within(other gap) bool {
	return g.Room == other.Room && !g.After.Before(other.After) && !other.Before.Before(g.Before)
}

// nothingBetween returns an error if an event was ever published strictly between two
// positions.
func (l *memLog) nothingBetween(room streams.Room, after, before streams.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ever[room] {
		if after.Before(e.ID) && e.ID.Before(before) {
			return fmt.Errorf("missing: %v of %s, between %v and %v, without a gap notice", seq(e.ID), room, seq(after), seq(before))
		}
	}
	return nil
}

// justified returns an error if no event can be missing in a gap.
func (l *memLog) justified(g *replay.Gap) error {
	if g.Reason == replay.UnknownCursor && !l.frameLost {
		return fmt.Errorf("a gap notice for a late event, but no frame was lost: in %s, %v to %v", g.Room, seq(g.After), seq(g.Before))
	}
	if g.Reason == replay.Reset {
		return nil // the floor may have moved since; TestReplayAgainstTheTruth checks these
	}
	if l.nothingBetween(g.Room, g.After, g.Before) == nil && !g.After.Before(l.floor) && !g.After.Before(l.unrecordedBefore) {
		return fmt.Errorf("an unjustified gap notice: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
	}
	return nil
}

func seq(id streams.ID) uint64 { return id.Seq() }

// A step is one action on the nodes, their log or their clients. Its kind decides which
// fields are used.
type step struct {
	kind  string
	node  int
	room  streams.Room
	rooms []streams.Room
	n     int // number of events, or index of a client or cursor
	when  int // the moment of a race
	how   int // the event of a race
	wait  time.Duration
	start replay.Start
}

// GoString keeps the steps of a failing run readable.
func (s step) GoString() string {
	return fmt.Sprintf("%s(node %d %s %v %d %d/%d %v %v)", s.kind, s.node, s.room, s.rooms, s.n, s.when, s.how, s.wait, s.start)
}

// rooms are the rooms of the model. The last one is ephemeral.
var rooms = []streams.Room{"a", "b", "c", "d", "e"}

// someStep draws a step. Drawing must end before the test enters virtual time. Single frames
// are lost only if every connection follows one room. docs/delivery.md describes what happens
// with several.
func someStep(several bool) func(*rapid.T) step {
	kinds := []string{
		"publish", "publish", "publish", "publish", "burst", "lose feed", "rejoin", "join", "return", "return", "return",
		"stall", "stall", "shed", "go on", "cut", "cut", "leave", "wait", "wait", "outage", "outage over", "lose end", "settle", "settle",
		"slow", "slow", "flow", "flow", "flow", "race", "race", "race", "history", "trim", "expire", "forget",
	}
	if !several {
		kinds = append(kinds, "lose frame")
	}
	return func(t *rapid.T) step {
		s := step{
			kind:  rapid.SampledFrom(kinds).Draw(t, "kind"),
			node:  rapid.IntRange(0, 1).Draw(t, "node"),
			room:  rapid.SampledFrom(rooms).Draw(t, "room"),
			n:     rapid.IntRange(0, 40).Draw(t, "n"),
			when:  rapid.IntRange(0, 2).Draw(t, "when"),
			how:   rapid.IntRange(0, 3).Draw(t, "how"),
			wait:  time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond,
			start: rapid.SampledFrom([]replay.Start{replay.Now(), replay.Now(), replay.Last(3)}).Draw(t, "start"),
		}
		s.rooms = []streams.Room{s.room}
		if several {
			s.rooms = rapid.SliceOfNDistinct(rapid.SampledFrom(rooms), 1, len(rooms), rapid.ID).Draw(t, "rooms")
		}
		if len(s.rooms) > 1 {
			s.start = replay.Now() // Last of several rooms starts at several positions
		}
		return s
	}
}

// Random runs of two nodes on one log. After any failure of feeds, log and clients, every
// connection has every event in order and once, or a gap notice in its place.
func TestNodeAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		several := rapid.Bool().Draw(rt, "several")
		steps := rapid.SliceOfN(rapid.Custom(someStep(several)), 5, 70).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(*testing.T) {
			r := newRun()
			defer r.end()
			for _, s := range steps {
				r.step(s)
			}
			err = r.verify()
		})
		if err != nil {
			rt.Fatalf("%v\n%#v", err, steps)
		}
	})
}

// A run is two nodes, their log, and every client that ever connected.
type run struct {
	log       *memLog
	nodes     [2]*service.Node
	all       []*testClient
	connected []*testClient
	stalled   map[*testClient]bool
	cursors   []replay.Cursor // of the disconnected ones
	failed    error
}

func newRun() *run {
	log := newMemLog()
	log.cap, log.ephemeral = 30, rooms[len(rooms)-1]
	log.sizes = []int{1, 1, 100, 1, 70 << 10, 1, 1, 300 << 10}
	r := &run{log: log, stalled: map[*testClient]bool{}}
	for i := range r.nodes {
		r.nodes[i] = service.New(log, &service.Options{
			Queue: 4, Hot: 16, Linger: 4 * time.Second, ReplayMemory: 300 << 10, MaxFollowedRooms: 4,
		})
	}
	return r
}

func (r *run) end() {
	r.leave()
	for _, n := range r.nodes {
		n.Close()
	}
}

func (r *run) leave() {
	for len(r.connected) > 0 {
		r.treat(0, "cut")
	}
}

func (r *run) step(s step) {
	switch s.kind {
	case "publish":
		r.log.publish(s.room, 1)
	case "burst":
		r.log.publish(s.room, s.n)
	case "lose frame":
		r.log.set(func() { r.log.loseFrame = func(*streams.Event) bool { r.log.loseFrame = nil; return true } })
		r.log.frameLost = true
	case "lose feed":
		r.log.loseFeeds()
	case "rejoin":
		r.log.rejoinFeeds()
	case "join":
		r.connect(s, s.start)
	case "return":
		r.connect(s, r.cursor(s))
	case "race":
		r.race(s)
	case "stall", "shed", "go on", "cut":
		if len(r.connected) > 0 {
			r.treat(s.n%len(r.connected), s.kind)
		}
	case "leave":
		r.leave()
	case "wait":
		time.Sleep(s.wait)
	case "settle":
		synctest.Wait()
	case "slow":
		r.log.set(func() { r.log.slow = true })
	case "flow":
		r.log.flow()
	case "outage":
		r.log.set(func() { r.log.down = true })
	case "outage over":
		r.log.set(func() { r.log.down = false })
	case "lose end":
		r.log.flow()
		synctest.Wait() // events sent live have arrived
		r.log.loseEnd(uint64(s.n))
	case "trim":
		r.log.trim(s.room, s.n%5)
	case "expire", "forget":
		r.log.expire(s.room, s.kind == "forget")
	case "history":
		r.failed = errors.Join(r.failed, r.history(s))
	}
}

// race connects a client, and something happens at one moment of connecting.
func (r *run) race(s step) {
	event := func() {
		switch s.how {
		case 0:
			r.log.set(func() { r.log.slow = true })
		case 1:
			r.log.loseFeeds()
		case 2:
			r.log.loseFeeds()
			r.log.publish(s.room, 1)
			r.log.rejoinFeeds()
		}
		for _, room := range rooms {
			r.log.publish(room, s.n%3)
		}
	}
	moments := []*func(){&r.log.beforeWatermarks, &r.log.onWatermarks, &r.log.onRead}
	r.log.set(func() { *moments[s.when] = event })
	r.connect(s, r.cursor(s))
	r.log.set(func() { *moments[s.when] = nil })
	r.log.hooks.Wait() // another client's goroutine may run the event
}

// cursor returns a start at the cursor of one of the last clients that disconnected, if any.
func (r *run) cursor(s step) replay.Start {
	n := len(r.cursors)
	if n == 0 {
		return s.start
	}
	return replay.After(r.cursors[n-1-s.n%min(n, 4)])
}

func (r *run) connect(s step, start replay.Start) {
	f, err := follow(r.nodes[s.node], fmt.Sprintf("f%d", len(r.all)), s.rooms, start)
	if err == nil { // otherwise the log does not answer, or the node follows too many rooms
		r.all, r.connected = append(r.all, f), append(r.connected, f)
	}
}

func (r *run) treat(i int, how string) {
	f := r.connected[i]
	switch how {
	case "stall":
		if !r.stalled[f] {
			<-f.gate
			r.stalled[f] = true
		}
	case "shed":
		if r.stalled[f] {
			f.sub.Shed()
		}
	case "go on":
		r.goOn(f)
	case "cut":
		r.goOn(f)
		r.cursors = append(r.cursors, f.cut())
		r.connected = slices.Delete(r.connected, i, i+1)
	}
}

func (r *run) goOn(f *testClient) {
	if r.stalled[f] {
		delete(r.stalled, f)
		f.gate <- struct{}{}
	}
}

// history pages through a room and compares the events with the model.
func (r *run) history(s step) error {
	after := streams.MakeID(1, uint64(s.n), 0)
	var kept, missing []streams.ID
	down := false
	r.log.set(func() {
		down = r.log.down
		for _, e := range r.log.ever[s.room] {
			switch {
			case !after.Before(e.ID):
			case slices.Contains(r.log.logged[s.room], e):
				kept = append(kept, e.ID)
			default:
				missing = append(missing, e.ID)
			}
		}
	})
	for _, newest := range []bool{false, true} {
		var got []streams.ID
		truncated := false
		q := service.HistoryQuery{After: after, Limit: 1 + s.n%5, Newest: newest}
		for more := true; more; {
			page, err := r.nodes[s.node].History(context.Background(), s.room, q)
			if err != nil {
				return nil // the log does not answer
			}
			if down {
				if err := r.log.unbroken(s.room, q, page); err != nil {
					return err
				}
			}
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			truncated = truncated || page.Truncated
			if more = !page.Next.IsZero(); newest {
				q.Before = page.Next
			} else {
				q.After = page.Next
			}
		}
		if newest {
			slices.Reverse(got)
		}
		if !down && (!slices.Equal(got, kept) || len(missing) > 0 && !truncated) {
			return fmt.Errorf("history of %s after %d, newest first %v: got %d of %d, %d are gone from the log, truncated %v",
				s.room, s.n, newest, len(got), len(kept), len(missing), truncated)
		}
	}
	return nil
}

// unbroken checks a page of history from memory. No event is missing between its events, nor
// between the requested position and the first of them. The page may end before the log
// does, because the node cannot know of later events.
func (l *memLog) unbroken(room streams.Room, q service.HistoryQuery, page service.HistoryPage) error {
	events := slices.Clone(page.Events)
	if q.Newest {
		slices.Reverse(events)
	} else if len(events) > 0 {
		if err := l.nothingBetween(room, q.After, events[0].ID); err != nil {
			return fmt.Errorf("history from memory: %w", err)
		}
	}
	for i := 1; i < len(events); i++ {
		if err := l.nothingBetween(room, events[i-1].ID, events[i].ID); err != nil {
			return fmt.Errorf("history from memory: %w", err)
		}
	}
	return nil
}

// verify ends every failure, gives the nodes the time of two tail checks, and compares the
// items of each client with the model.
func (r *run) verify() error {
	if r.failed != nil {
		return r.failed
	}
	for _, f := range r.connected {
		r.goOn(f)
	}
	r.log.set(func() { r.log.down, r.log.loseFrame = false, nil })
	r.log.flow()
	r.log.rejoinFeeds()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	for _, f := range r.all {
		upTo := f.cursor.Position(0)
		if slices.Contains(r.connected, f) {
			if f.wentLive != 1 {
				return fmt.Errorf("%s went live %d times", f.name, f.wentLive)
			}
			upTo = r.log.lastLocked()
		}
		if err := r.log.verify(f, upTo); err != nil {
			return fmt.Errorf("%s of %v: %w\nreceived%s", f.name, f.rooms, err, describe(f.items))
		}
	}
	return nil
}

func (l *memLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func describe(items []replay.Item) (s string) {
	for _, it := range items {
		if it.Event != nil {
			s += fmt.Sprintf(" %d", seq(it.Event.ID))
		} else {
			s += fmt.Sprintf(" gap(%s %s %d-%d)", it.Gap.Room, it.Gap.Reason, seq(it.Gap.After), seq(it.Gap.Before))
		}
	}
	return s
}
