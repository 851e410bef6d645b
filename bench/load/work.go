package load

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A work is a Work under way.
type work struct {
	Work
	atOnce int // connections that may be under way at once

	rooms    []*room
	idle     []*publisher // those that may send a request
	requests int
	sent     int // events
	answered int // events
	start    int64
	next     int64 // when the next event is to be sent, where there is a rate
	answer   int64 // when the last answer came
	turns    turns // what BadLines will do
}

// doWork does a Work.
func (g *Generator) doWork(w Work) error {
	if err := g.hire(w); err != nil {
		return err
	}
	k := &work{Work: w, atOnce: atOnce, start: g.clock()}
	k.next, k.answer = k.start, k.start
	k.Window = max(1, k.Window)
	for i := range w.Rooms.Count {
		k.rooms = append(k.rooms, g.room(w.Rooms.Name(i)))
	}
	for range k.Window {
		k.idle = append(k.idle, g.publishers...)
	}
	g.work = k
	defer func() { g.work = nil }()
	k.expectCuts(g.clients)
	k.start = g.clock()
	if err := g.runWork(k); err != nil {
		return err
	}
	g.report.Published = int64(k.answered)
	g.report.Answered = time.Duration(k.answer - k.start)
	g.report.Elapsed = max(g.report.Answered, time.Duration(g.last-k.start))
	return nil
}

// runWork ends when all is answered and delivered, or nothing happens any more.
func (g *Generator) runWork(k *work) error {
	for g.moved = g.clock(); ; {
		now := g.clock()
		if err := g.send(k, now); err != nil {
			return err
		}
		if err := g.turn(k, now); err != nil {
			return err
		}
		if !k.more(now) && k.answered == k.sent && len(k.turns) == 0 && (k.Ahead || g.complete()) {
			return nil
		}
		if now > g.moved+int64(g.patience) {
			if k.answered < k.sent {
				return fmt.Errorf("%d of %d publishes have no answer after %v", k.sent-k.answered, k.sent, g.patience)
			}
			return nil // what is missing shows in the report
		}
		before := g.report.Delivered + int64(k.answered)
		if err := g.step(k.wake(now, g.patience)); err != nil {
			return err
		}
		if g.report.Delivered+int64(k.answered) != before {
			g.moved = g.clock()
		}
	}
}

// hire opens the publishers' connections, unless they stand already.
func (g *Generator) hire(w Work) error {
	if w.Publishers < 1 || w.Publishers > maxPublishers || len(w.To) == 0 || w.Rooms.Count < 1 {
		return fmt.Errorf("no such work: %+v", w)
	}
	same := len(g.publishers) == w.Publishers
	for i, p := range g.publishers {
		same = same && p.to == w.To[i%len(w.To)]
	}
	if same {
		return nil
	}
	g.hangUp()
	for i := range w.Publishers {
		p := &publisher{conn: conn{fd: -1}, g: g, index: i, to: w.To[i%len(w.To)]}
		g.publishers = append(g.publishers, p)
		if err := p.connect(); err != nil {
			return err
		}
	}
	notReady := func(p *publisher) bool { return !p.up }
	if err := g.until(func() bool { return !slices.ContainsFunc(g.publishers, notReady) }); err != nil {
		return err
	}
	if slices.ContainsFunc(g.publishers, notReady) {
		return fmt.Errorf("not all publishers are connected after %v", g.patience)
	}
	return nil
}

// more reports whether there is more to send.
func (k *work) more(now int64) bool {
	if k.Events > 0 {
		return k.sent < k.Events
	}
	return now < k.start+int64(k.Time)
}

// send sends what is due, by publishers that may.
func (g *Generator) send(k *work, now int64) error {
	for len(k.idle) > 0 && k.more(now) && (k.Rate == 0 || k.next <= now) {
		p := k.idle[0] // that has been idle the longest: a server closes what is never used
		k.idle = k.idle[1:]
		sent := now
		if k.Rate > 0 {
			sent = k.next
			k.next += int64(float64(time.Second) / k.Rate)
		}
		room := k.rooms[k.requests%len(k.rooms)]
		k.requests++
		k.sent += max(1, p.to.Batch)
		if err := p.publish(room, sent); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged notes an answer, after which the publisher may send again.
func (g *Generator) acknowledged(p *publisher, events int) {
	k := g.work
	k.answered += events
	k.answer = g.now
	k.idle = append(k.idle, p)
}

// wake is when there is something to do at the latest, within the limit.
func (k *work) wake(now int64, limit time.Duration) int64 {
	at := now + int64(limit)
	if k.Rate > 0 && len(k.idle) > 0 && k.more(now) {
		at = min(at, k.next)
	}
	if k.Events == 0 {
		if end := k.start + int64(k.Time); end > now {
			at = min(at, end)
		}
	}
	if len(k.turns) > 0 {
		at = min(at, k.turns[0].at)
	}
	return at
}

// A turn is the time at which a client is cut, or comes back.
type turn struct {
	at     int64
	client *client
}

// turns is a heap, the earliest first.
type turns []turn

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].at < t[j].at }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(turn)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// expectCuts says for each client when it will be cut first.
func (k *work) expectCuts(clients []*client) {
	if k.BadLines == nil {
		return
	}
	for _, c := range clients {
		heap.Push(&k.turns, turn{k.start + k.up(), c})
	}
}

func (k *work) up() int64 { return int64(rand.ExpFloat64() * float64(k.BadLines.Up)) }

func (k *work) down() int64 { return int64((0.5 + rand.Float64()) * float64(k.BadLines.Down)) }

// turn cuts and connects those whose turn it is. When there is nothing more to send
// nobody is cut any more, and those that are away come back in their time.
func (g *Generator) turn(k *work, now int64) error {
	for len(k.turns) > 0 && k.turns[0].at <= now {
		c := heap.Pop(&k.turns).(turn).client
		g.now = g.clock()
		switch {
		case c.state == away:
			if err := c.comeBack(g.now); err != nil {
				return err
			}
			heap.Push(&k.turns, turn{g.now + k.up(), c})
		case k.more(now):
			c.back()
			c.cut()
			g.report.Cuts++
			heap.Push(&k.turns, turn{g.now + k.down(), c})
		}
	}
	if !k.more(now) {
		k.turns = slices.DeleteFunc(k.turns, func(t turn) bool { return t.client.state != away })
		heap.Init(&k.turns)
	}
	return nil
}
