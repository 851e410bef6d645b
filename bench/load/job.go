package load

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// A job is a Work in progress.
type job struct {
	Work
	maxConnecting int // limit of simultaneous connection attempts

	rooms      []*room
	idle       []*publisher // publishers that may send a request; the longest idle first
	requests   int
	sent       int // events
	answered   int // events
	start      int64
	nextSend   int64   // time of the next event, if there is a rate
	lastAnswer int64   // time of the last answer
	toggles    toggles // scheduled disconnects and reconnects
}

// work executes Work.
func (g *Generator) work(w Work) error {
	if err := g.openPublishers(w); err != nil {
		return err
	}
	j := &job{Work: w, maxConnecting: defaultMaxConnecting, start: g.clock()}
	j.nextSend, j.lastAnswer = j.start, j.start
	j.Window = max(1, j.Window)
	for i := range w.Rooms.Count {
		j.rooms = append(j.rooms, g.room(w.Rooms.Name(i)))
	}
	for range j.Window {
		j.idle = append(j.idle, g.publishers...)
	}
	g.job = j
	defer func() { g.job = nil }()
	j.scheduleDisconnects(g.clients)
	j.start = g.clock()
	if err := g.runJob(j); err != nil {
		return err
	}
	g.report.Published = int64(j.answered)
	g.report.Answered = time.Duration(j.lastAnswer - j.start)
	g.report.Elapsed = max(g.report.Answered, time.Duration(g.lastDelivery-j.start))
	return nil
}

// runJob returns when every publish is answered and every event delivered, or after
// stallTimeout without progress.
func (g *Generator) runJob(j *job) error {
	for g.lastProgress = g.clock(); ; {
		now := g.clock()
		if err := g.send(j, now); err != nil {
			return err
		}
		if err := g.runToggles(j, now); err != nil {
			return err
		}
		if !j.moreToSend(now) && j.answered == j.sent && len(j.toggles) == 0 && (j.ClientsAway || g.complete()) {
			return nil
		}
		if now > g.lastProgress+int64(g.stallTimeout) {
			if j.answered < j.sent {
				return fmt.Errorf("%d of %d publishes are unanswered after %v without progress", j.sent-j.answered, j.sent, g.stallTimeout)
			}
			return nil // the report counts the missing events
		}
		before := g.report.Delivered + int64(j.answered)
		if err := g.step(j.nextWake(now, g.stallTimeout)); err != nil {
			return err
		}
		if g.report.Delivered+int64(j.answered) != before {
			g.lastProgress = g.clock()
		}
	}
}

// openPublishers opens the publishers' connections. It keeps the open ones if they
// already match the work.
func (g *Generator) openPublishers(w Work) error {
	if w.Publishers < 1 || w.Publishers > maxPublishers || len(w.To) == 0 || w.Rooms.Count < 1 {
		return fmt.Errorf("invalid work: %+v", w)
	}
	same := len(g.publishers) == w.Publishers
	for i, p := range g.publishers {
		same = same && p.to == w.To[i%len(w.To)]
	}
	if same {
		return nil
	}
	g.closePublishers()
	for i := range w.Publishers {
		p := &publisher{conn: conn{fd: -1}, g: g, index: i, to: w.To[i%len(w.To)]}
		g.publishers = append(g.publishers, p)
		if err := p.connect(); err != nil {
			return err
		}
	}
	notReady := func(p *publisher) bool { return !p.connected }
	if err := g.runUntil(func() bool { return !slices.ContainsFunc(g.publishers, notReady) }); err != nil {
		return err
	}
	if slices.ContainsFunc(g.publishers, notReady) {
		return fmt.Errorf("some publishers are not connected after %v without progress", g.stallTimeout)
	}
	return nil
}

// moreToSend reports whether the job has more events to send.
func (j *job) moreToSend(now int64) bool {
	if j.Events > 0 {
		return j.sent < j.Events
	}
	return now < j.start+int64(j.Time)
}

// send sends the events that are due, through idle publishers.
func (g *Generator) send(j *job, now int64) error {
	for len(j.idle) > 0 && j.moreToSend(now) && (j.Rate == 0 || j.nextSend <= now) {
		p := j.idle[0] // the longest idle one: a server closes unused connections
		j.idle = j.idle[1:]
		sent := now
		if j.Rate > 0 {
			sent = j.nextSend
			j.nextSend += int64(float64(time.Second) / j.Rate)
		}
		room := j.rooms[j.requests%len(j.rooms)]
		j.requests++
		j.sent += max(1, p.to.Batch)
		if err := p.publish(room, sent); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged counts an answer. The publisher may then send again.
func (g *Generator) acknowledged(p *publisher, events int) {
	j := g.job
	j.answered += events
	j.lastAnswer = g.now
	j.idle = append(j.idle, p)
}

// nextWake returns the latest time at which the job must run again, at most limit from
// now.
func (j *job) nextWake(now int64, limit time.Duration) int64 {
	at := now + int64(limit)
	if j.Rate > 0 && len(j.idle) > 0 && j.moreToSend(now) {
		at = min(at, j.nextSend)
	}
	if j.Events == 0 {
		if end := j.start + int64(j.Time); end > now {
			at = min(at, end)
		}
	}
	if len(j.toggles) > 0 {
		at = min(at, j.toggles[0].at)
	}
	return at
}

// A toggle is the time at which a client disconnects or, if it is disconnected,
// reconnects.
type toggle struct {
	at     int64
	client *client
}

// toggles is a heap ordered by time.
type toggles []toggle

func (t toggles) Len() int           { return len(t) }
func (t toggles) Less(i, j int) bool { return t[i].at < t[j].at }
func (t toggles) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *toggles) Push(x any)        { *t = append(*t, x.(toggle)) }
func (t *toggles) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// scheduleDisconnects schedules the first disconnect of each client.
func (j *job) scheduleDisconnects(clients []*client) {
	if j.Disconnects == nil {
		return
	}
	for _, c := range clients {
		heap.Push(&j.toggles, toggle{j.start + j.upTime(), c})
	}
}

func (j *job) upTime() int64 { return int64(rand.ExpFloat64() * float64(j.Disconnects.Up)) }

func (j *job) downTime() int64 { return int64((0.5 + rand.Float64()) * float64(j.Disconnects.Down)) }

// runToggles disconnects and reconnects the clients whose time has come. Once nothing
// is left to send, no client is disconnected, and the disconnected ones still reconnect
// at their time.
func (g *Generator) runToggles(j *job, now int64) error {
	for len(j.toggles) > 0 && j.toggles[0].at <= now {
		c := heap.Pop(&j.toggles).(toggle).client
		g.now = g.clock()
		switch {
		case c.state == disconnected:
			if err := c.reconnect(g.now); err != nil {
				return err
			}
			heap.Push(&j.toggles, toggle{g.now + j.upTime(), c})
		case j.moreToSend(now):
			c.recordReplay()
			c.disconnect()
			g.report.Cuts++
			heap.Push(&j.toggles, toggle{g.now + j.downTime(), c})
		}
	}
	if !j.moreToSend(now) {
		j.toggles = slices.DeleteFunc(j.toggles, func(t toggle) bool { return t.client.state != disconnected })
		heap.Init(&j.toggles)
	}
	return nil
}
