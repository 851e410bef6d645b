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

// A follower is a client: it takes what a subscription gives, checks it against
// the truth as far as one client can see, and can be stalled and cut.
type follower struct {
	name  string
	rooms []streams.Room
	sub   *service.Subscription
	wake  chan struct{}
	quit  chan struct{}
	done  chan struct{}
	gate  chan struct{} // holds a token; taken to stall it

	mu     sync.Mutex // guards the fields below
	cursor replay.Cursor
	told   []replay.Item // of this connection
	lives  int
	failed error
}

// keepAlive is how often an idle follower asks for its position.
const keepAlive = 700 * time.Millisecond

// follow connects; cursor of the zero value means from now.
func follow(node *service.Node, name string, rooms []streams.Room, start replay.Start) (*follower, error) {
	f := &follower{
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

func (f *follower) run() {
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
		away := errors.Is(err, streams.ErrUnavailable)
		if !away {
			f.take(batch, err)
		}
		f.gate <- struct{}{}
		wake := f.wake
		var again <-chan time.Time
		switch {
		case away:
			wake, again = nil, time.After(100*time.Millisecond)
		case batch.More:
			again = closedTime
		}
		if !f.wait(wake, again, tick.C) {
			return
		}
	}
}

// closedTime is a time that has come.
var closedTime = func() <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// wait returns true when Next is to be called. Keep-alives do not lead to it: only
// notify does, as for a WebSocket.
func (f *follower) wait(wake chan struct{}, again, tick <-chan time.Time) bool {
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

func (f *follower) keepAlive() {
	c, ok := f.sub.Position()
	if !ok {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if c.Position(0).Before(f.cursor.Position(0)) {
		f.failed = fmt.Errorf("the keep-alive goes back from %v to %v", f.cursor, c)
	}
	f.cursor = c
}

func (f *follower) take(b service.Batch, err error) {
	f.mu.Lock()
	f.failed = errors.Join(f.failed, err)
	for _, it := range b.Items {
		if e := it.Event; e != nil && !f.cursor.Position(0).Before(e.ID) {
			f.failed = errors.Join(f.failed, fmt.Errorf("repeated: %v at cursor %v", seq(e.ID), f.cursor))
		}
		f.cursor = f.cursor.With(it.Position)
	}
	f.told = append(f.told, b.Items...)
	if b.ReplayDone {
		f.lives++
	}
	f.mu.Unlock()
	if b.ReplayDone {
		f.keepAlive() // the live block carries it
	}
}

// cut ends the connection and returns the cursor that the client holds.
func (f *follower) cut() replay.Cursor {
	close(f.quit)
	<-f.done
	f.sub.Close()
	return f.cursor
}

// verify checks all that one connection was told, from where it opened to upTo.
func (l *memLog) verify(f *follower, upTo streams.ID) error {
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
	for _, it := range f.told {
		if g := (gap{it.Gap}); it.Gap != nil {
			if err := l.owed(it.Gap); err != nil {
				return err
			}
			if g.Reason != replay.UnknownCursor && (l.knew(it.Gap, pos[g.Room]) || slices.ContainsFunc(gaps, g.within)) {
				return fmt.Errorf("a notice that tells nothing new: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
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
		if err := l.none(e.Room, pos[e.Room], e.ID); err != nil {
			return err
		}
		pos[e.Room] = e.ID
	}
	for r, p := range pos {
		if err := l.none(r, p, upTo.Next()); err != nil {
			return fmt.Errorf("at the end: %w", err)
		}
	}
	return nil
}

// knew reports whether a client that was told everything up to pos learns nothing from
// a notice. What may have come and gone unrecorded was not told with the rest.
func (l *memLog) knew(g *replay.Gap, pos streams.ID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !pos.Before(g.Before) && !g.After.Before(l.horizon)
}

type gap struct{ *replay.Gap }

// within reports whether other tells of all that g does.
func (g gap) within(other gap) bool {
	return g.Room == other.Room && !g.After.Before(other.After) && !other.Before.Before(g.Before)
}

// none says which event there was strictly between two positions, if any.
func (l *memLog) none(room streams.Room, after, before streams.ID) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.ever[room] {
		if after.Before(e.ID) && e.ID.Before(before) {
			return fmt.Errorf("missing: %v of %s, between %v and %v, and no notice", seq(e.ID), room, seq(after), seq(before))
		}
	}
	return nil
}

// owed says so if a notice tells of nothing.
func (l *memLog) owed(g *replay.Gap) error {
	if g.Reason == replay.UnknownCursor && !l.frames {
		return fmt.Errorf("a notice for want of order, and no frame was lost: in %s, %v to %v", g.Room, seq(g.After), seq(g.Before))
	}
	if g.Reason == replay.Reset {
		return nil // the floor has moved since; TestReplayAgainstTheTruth checks these
	}
	if l.none(g.Room, g.After, g.Before) == nil && !g.After.Before(l.floor) && !g.After.Before(l.horizon) {
		return fmt.Errorf("a notice that is not owed: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
	}
	return nil
}

func seq(id streams.ID) uint64 { return id.Seq() }

// A step is one thing that happens to the nodes; which of its fields count
// depends on what.
type step struct {
	what  string
	node  int
	room  streams.Room
	rooms []streams.Room
	n     int // events, or which of those there are
	when  int // in a race
	how   int // in a race
	wait  time.Duration
	start replay.Start
}

// GoString keeps a failing life readable.
func (s step) GoString() string {
	return fmt.Sprintf("%s(node %d %s %v %d %d/%d %v %v)", s.what, s.node, s.room, s.rooms, s.n, s.when, s.how, s.wait, s.start)
}

// rooms are those of the model; the last one is ephemeral.
var rooms = []streams.Room{"a", "b", "c", "d", "e"}

// someStep draws a step; drawing must end before the bubble of virtual time begins.
// Single frames are lost only where every connection follows one room: what several
// then mean is in docs/delivery.md, and TestLateEvent.
func someStep(several bool) func(*rapid.T) step {
	whats := []string{
		"publish", "publish", "publish", "publish", "burst", "lose feed", "rejoin", "join", "return", "return", "return",
		"stall", "go on", "cut", "cut", "leave", "wait", "wait", "away", "back", "lose end", "settle", "settle",
		"slow", "slow", "flow", "flow", "flow", "race", "race", "race", "history", "trim", "expire", "forget",
	}
	if !several {
		whats = append(whats, "lose frame")
	}
	return func(t *rapid.T) step {
		s := step{
			what:  rapid.SampledFrom(whats).Draw(t, "what"),
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
			s.start = replay.Now() // the newest of each of several begin in several places
		}
		return s
	}
}

// Random lives of two nodes on one log: whatever happens to feeds, log and
// clients, every connection is told everything, in order, once, or that something
// is missing.
func TestNodeAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		several := rapid.Bool().Draw(rt, "several")
		steps := rapid.SliceOfN(rapid.Custom(someStep(several)), 5, 70).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(*testing.T) {
			l := newLife()
			defer l.end()
			for _, s := range steps {
				l.step(s)
			}
			err = l.judge()
		})
		if err != nil {
			rt.Fatalf("%v\n%#v", err, steps)
		}
	})
}

// A life is two nodes, their log, and all clients that there ever were.
type life struct {
	log     *memLog
	nodes   [2]*service.Node
	all     []*follower
	now     []*follower // those that are connected
	stalled map[*follower]bool
	cursors []replay.Cursor // of those that left
	failed  error
}

func newLife() *life {
	log := newMemLog()
	log.cap, log.ephemeral = 30, rooms[len(rooms)-1]
	l := &life{log: log, stalled: map[*follower]bool{}}
	for i := range l.nodes {
		l.nodes[i] = service.New(log, &service.Options{Queue: 4, Hot: 16, Linger: 4 * time.Second})
	}
	return l
}

func (l *life) end() {
	l.leave()
	for _, n := range l.nodes {
		n.Close()
	}
}

func (l *life) leave() {
	for len(l.now) > 0 {
		l.treat(0, "cut")
	}
}

func (l *life) step(s step) {
	switch s.what {
	case "publish":
		l.log.publish(s.room, 1)
	case "burst":
		l.log.publish(s.room, s.n)
	case "lose frame":
		l.log.set(func() { l.log.loseFrame = func(*streams.Event) bool { l.log.loseFrame = nil; return true } })
		l.log.frames = true
	case "lose feed":
		l.log.loseFeeds()
	case "rejoin":
		l.log.rejoinFeeds()
	case "join":
		l.connect(s, s.start)
	case "return":
		l.connect(s, l.cursor(s))
	case "race":
		l.race(s)
	case "stall", "go on", "cut":
		if len(l.now) > 0 {
			l.treat(s.n%len(l.now), s.what)
		}
	case "leave":
		l.leave()
	case "wait":
		time.Sleep(s.wait)
	case "settle":
		synctest.Wait()
	case "slow":
		l.log.set(func() { l.log.slow = true })
	case "flow":
		l.log.flow()
	case "away":
		l.log.set(func() { l.log.away = true })
	case "back":
		l.log.set(func() { l.log.away = false })
	case "lose end":
		l.log.flow()
		synctest.Wait() // what is live has arrived
		l.log.loseEnd(uint64(s.n))
	case "trim":
		l.log.trim(s.room, s.n%5)
	case "expire", "forget":
		l.log.expire(s.room, s.what == "forget")
	case "history":
		l.failed = errors.Join(l.failed, l.history(s))
	}
}

// race connects, and has something happen at one moment of that.
func (l *life) race(s step) {
	happens := func() {
		switch s.how {
		case 0:
			l.log.set(func() { l.log.slow = true })
		case 1:
			l.log.loseFeeds()
		case 2:
			l.log.loseFeeds()
			l.log.publish(s.room, 1)
			l.log.rejoinFeeds()
		}
		for _, r := range rooms {
			l.log.publish(r, s.n%3)
		}
	}
	moments := []*func(){&l.log.beforeEdges, &l.log.onEdges, &l.log.onRead}
	l.log.set(func() { *moments[s.when] = happens })
	l.connect(s, l.cursor(s))
	l.log.set(func() { *moments[s.when] = nil })
	l.log.hooks.Wait() // another client's goroutine may run it
}

// cursor starts at that of one of the last clients that left, if any did.
func (l *life) cursor(s step) replay.Start {
	n := len(l.cursors)
	if n == 0 {
		return s.start
	}
	return replay.After(l.cursors[n-1-s.n%min(n, 4)])
}

func (l *life) connect(s step, start replay.Start) {
	f, err := follow(l.nodes[s.node], fmt.Sprintf("f%d", len(l.all)), s.rooms, start)
	if err == nil { // else the log is away
		l.all, l.now = append(l.all, f), append(l.now, f)
	}
}

func (l *life) treat(i int, how string) {
	f := l.now[i]
	switch how {
	case "stall":
		if !l.stalled[f] {
			<-f.gate
			l.stalled[f] = true
		}
	case "go on":
		l.goOn(f)
	case "cut":
		l.goOn(f)
		l.cursors = append(l.cursors, f.cut())
		l.now = slices.Delete(l.now, i, i+1)
	}
}

func (l *life) goOn(f *follower) {
	if l.stalled[f] {
		delete(l.stalled, f)
		f.gate <- struct{}{}
	}
}

// history pages through a room, and holds that against the truth.
func (l *life) history(s step) error {
	after := streams.MakeID(1, uint64(s.n), 0)
	var kept, missing []streams.ID
	away := false
	l.log.set(func() {
		away = l.log.away
		for _, e := range l.log.ever[s.room] {
			switch {
			case !after.Before(e.ID):
			case slices.Contains(l.log.logged[s.room], e):
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
			page, err := l.nodes[s.node].History(context.Background(), s.room, q)
			if err != nil {
				return nil // the log is away
			}
			if away {
				if err := l.log.unbroken(s.room, q, page); err != nil {
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
		if !away && (!slices.Equal(got, kept) || len(missing) > 0 && !truncated) {
			return fmt.Errorf("history of %s after %d, newest first %v: got %d of %d, %d are missing, truncated %v",
				s.room, s.n, newest, len(got), len(kept), len(missing), truncated)
		}
	}
	return nil
}

// unbroken checks a page of history from memory: nothing is missing between its
// events, nor between the place that was asked for and the first of them. It may end
// before the log does, which nobody can know.
func (l *memLog) unbroken(room streams.Room, q service.HistoryQuery, page service.HistoryPage) error {
	events := slices.Clone(page.Events)
	if q.Newest {
		slices.Reverse(events)
	} else if len(events) > 0 {
		if err := l.none(room, q.After, events[0].ID); err != nil {
			return fmt.Errorf("history from memory: %w", err)
		}
	}
	for i := 1; i < len(events); i++ {
		if err := l.none(room, events[i-1].ID, events[i].ID); err != nil {
			return fmt.Errorf("history from memory: %w", err)
		}
	}
	return nil
}

// judge mends everything, gives the nodes the time of two tail checks, and holds
// what each client was told against the truth.
func (l *life) judge() error {
	if l.failed != nil {
		return l.failed
	}
	for _, f := range l.now {
		l.goOn(f)
	}
	l.log.set(func() { l.log.away, l.log.loseFrame = false, nil })
	l.log.flow()
	l.log.rejoinFeeds()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	for _, f := range l.all {
		upTo := f.cursor.Position(0)
		if slices.Contains(l.now, f) {
			if f.lives != 1 {
				return fmt.Errorf("%s was told %d times that it is live", f.name, f.lives)
			}
			upTo = l.log.lastLocked()
		}
		if err := l.log.verify(f, upTo); err != nil {
			return fmt.Errorf("%s of %v: %w\ntold%s", f.name, f.rooms, err, tell(f.told))
		}
	}
	return nil
}

func (l *memLog) set(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
}

func tell(items []replay.Item) (s string) {
	for _, it := range items {
		if it.Event != nil {
			s += fmt.Sprintf(" %d", seq(it.Event.ID))
		} else {
			s += fmt.Sprintf(" gap(%s %s %d-%d)", it.Gap.Room, it.Gap.Reason, seq(it.Gap.After), seq(it.Gap.Before))
		}
	}
	return s
}
