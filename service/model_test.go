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
	f.sub, f.cursor = sub, sub.Opening()
	f.gate <- struct{}{}
	go f.run()
	return f, nil
}

func (f *follower) run() {
	defer close(f.done)
	for {
		<-f.gate
		batch, err := f.sub.Next(context.Background())
		if errors.Is(err, streams.ErrUnavailable) {
			f.gate <- struct{}{}
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-f.quit:
				return
			}
		}
		f.take(batch, err)
		f.gate <- struct{}{}
		if !batch.Empty() {
			select {
			case <-f.quit:
				return
			default:
				continue
			}
		}
		select {
		case <-f.wake:
		case <-f.quit:
			return
		}
	}
}

func (f *follower) take(b service.Batch, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.failed = err
	}
	f.told = append(f.told, b.Items...)
	for _, it := range b.Items {
		f.cursor = f.cursor.With(it.Position)
	}
	if b.Live {
		f.lives++
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
	opened := f.sub.Opening().Position(0)
	pos := map[streams.Room]streams.ID{}
	for _, r := range f.rooms {
		pos[r] = opened
	}
	var last streams.ID
	for _, it := range f.told {
		if g := it.Gap; g != nil {
			if err := l.owed(g); err != nil {
				return err
			}
			if g.Reason != replay.NoSense && !pos[g.Room].Before(g.Before) {
				return fmt.Errorf("a notice that tells nothing new: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
			}
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
	if g.Reason == replay.NoSense && !l.frames {
		return fmt.Errorf("a notice for want of order, and no frame was lost: in %s, %v to %v", g.Room, seq(g.After), seq(g.Before))
	}
	if g.Reason == replay.Reset {
		return nil // the floor has moved since; TestReplayAgainstTheTruth checks these
	}
	if l.none(g.Room, g.After, g.Before) == nil && !g.After.Before(l.floor) {
		return fmt.Errorf("a notice that is not owed: %s in %s, %v to %v", g.Reason, g.Room, seq(g.After), seq(g.Before))
	}
	return nil
}

func seq(id streams.ID) uint64 { return id.Seq() }

// A step is one thing that happens to a node; which of its fields count depends
// on what.
type step struct {
	what  string
	room  streams.Room
	n     int // events, rooms, or which of those there are
	wait  time.Duration
	start replay.Start
}

// GoString keeps a failing life readable.
func (s step) GoString() string {
	return fmt.Sprintf("%s(%s %d %v %v)", s.what, s.room, s.n, s.wait, s.start)
}

var rooms = []streams.Room{"a", "b", "c"}

// someStep draws a step; drawing must end before the bubble of virtual time begins.
func someStep(t *rapid.T) step {
	return step{
		what: rapid.SampledFrom([]string{
			"publish", "publish", "publish", "burst", "lose frame", "lose feed", "rejoin", "join", "join",
			"return", "return", "stall", "go on", "cut", "wait", "wait", "away", "back", "lose end", "settle",
		}).Draw(t, "what"),
		room:  rapid.SampledFrom(rooms).Draw(t, "room"),
		n:     rapid.IntRange(0, 40).Draw(t, "n"),
		wait:  time.Duration(rapid.IntRange(1, 8000).Draw(t, "ms")) * time.Millisecond,
		start: rapid.SampledFrom([]replay.Start{replay.Now(), replay.Now(), replay.Last(3)}).Draw(t, "start"),
	}
}

// Random lives of a node: whatever happens to feeds, log and clients, every
// connection is told everything, in order, once, or that something is missing.
func TestNodeAgainstTheTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(someStep), 5, 60).Draw(rt, "steps")
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

// A life is a node, its log, and all clients that there ever were.
type life struct {
	log     *memLog
	node    *service.Node
	all     []*follower
	now     []*follower // those that are connected
	stalled map[*follower]bool
	cursors []replay.Cursor // of those that left
}

func newLife() *life {
	log := newMemLog()
	log.cap = 30
	return &life{
		log:     log,
		node:    service.New(log, &service.Options{Queue: 4, Hot: 8, Linger: 4 * time.Second}),
		stalled: map[*follower]bool{},
	}
}

func (l *life) end() {
	for _, f := range l.now {
		l.goOn(f)
		f.cut()
	}
	l.node.Close()
}

func (l *life) step(s step) {
	switch s.what {
	case "publish":
		l.publish(s.room, 1)
	case "burst":
		l.publish(s.room, s.n)
	case "lose frame":
		l.log.set(func() { l.log.loseFrame = func(*streams.Event) bool { l.log.loseFrame = nil; return true } })
		l.log.frames = true
	case "lose feed":
		l.log.loseFeeds()
	case "rejoin":
		l.log.rejoinFeeds()
	case "join":
		if s.start.IsNow() {
			l.connect(rooms[:1+s.n%3], s.start)
		} else {
			l.connect(rooms[:1], s.start) // the newest of each of several begin in several places
		}
	case "return":
		if len(l.cursors) > 0 {
			l.connect([]streams.Room{s.room}, replay.After(l.cursors[s.n%len(l.cursors)]))
		}
	case "stall", "go on", "cut":
		if len(l.now) > 0 {
			l.treat(s.n%len(l.now), s.what)
		}
	case "wait":
		time.Sleep(s.wait)
	case "settle":
		synctest.Wait()
	case "away":
		l.log.set(func() { l.log.away = true })
	case "back":
		l.log.set(func() { l.log.away = false })
	case "lose end":
		synctest.Wait() // what is live has arrived
		l.log.loseEnd(uint64(s.n))
	}
}

func (l *life) publish(room streams.Room, n int) {
	for range n {
		l.log.Append(context.Background(), []streams.Draft{{Room: room}})
	}
}

func (l *life) connect(rs []streams.Room, start replay.Start) {
	f, err := follow(l.node, fmt.Sprintf("f%d", len(l.all)), rs, start)
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
		if c := f.cut(); len(f.rooms) == 1 {
			l.cursors = append(l.cursors, c)
		}
		l.now = slices.Delete(l.now, i, i+1)
	}
}

func (l *life) goOn(f *follower) {
	if l.stalled[f] {
		delete(l.stalled, f)
		f.gate <- struct{}{}
	}
}

// judge mends everything, gives the node the time of two tail checks, and holds
// what each client was told against the truth.
func (l *life) judge() error {
	for _, f := range l.now {
		l.goOn(f)
	}
	l.log.set(func() { l.log.away, l.log.loseFrame = false, nil })
	l.log.rejoinFeeds()
	time.Sleep(20 * time.Second)
	synctest.Wait()
	for _, f := range l.all {
		upTo := f.cursor.Position(0)
		switch {
		case slices.Contains(l.now, f):
			if f.lives != 1 {
				return fmt.Errorf("%s was told %d times that it is live", f.name, f.lives)
			}
			upTo = l.log.lastLocked()
		case len(f.rooms) > 1:
			// Where a single frame is lost (which a Redis connection that stands does
			// not do), a connection of several rooms may be cut after a later event of
			// another room and before the tail check has found it.
			upTo = streams.ID{}
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
