package api

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// turns is how many connections a worker serves before it lets other goroutines
// run: a broadcast to ten thousand keeps every processor busy for a while, and
// requests come in meanwhile.
const turns = 16

// A crew runs the tasks of connections that have something to do. An event for ten
// thousand connections wakes as many tasks, but only one worker for each processor:
// a connection needs no goroutine of its own to be written to, nor a buffer.
//
// There are no workers while there is nothing to do.
type crew struct {
	most  int          // workers at a time
	count func(*tally) // takes what a worker has counted

	mu          sync.Mutex // guards the fields below, and task.next
	first, last *task      // those that are queued
	workers     int

	desks   sync.Pool // of *desk
	running census    // a WaitGroup may not be added to while somebody waits for it
}

// A desk is what a worker lends to the tasks that it runs.
type desk struct {
	buf   []byte // to write into; left for others with what room it has gained
	load  load   // of the write that is being made
	tally tally  // of what the tasks of one chain have written
}

func newCrew(count func(*tally)) *crew {
	return &crew{
		most:  runtime.GOMAXPROCS(0),
		count: count,
		desks: sync.Pool{New: func() any { return new(desk) }},
	}
}

// A task is a connection's place in its crew. It runs in one goroutine at a time: a
// worker's, or one that its runner has handed it to.
type task struct {
	runner runner
	next   *task
	state  atomic.Int32
}

// The states of a task. The zero state is that of a task whose owner has not let go
// of it yet.
const (
	running = iota
	again   // running, and to run again
	queued
	idle
	ended // never to run again
)

// A runner does what there is to do for a connection, and waits for nothing. It writes
// once at most.
type runner interface {
	run(d *desk) outcome

	// panicked is what comes of a run that panicked: what was done for one client
	// must not end the others.
	panicked(value any) outcome
}

func (t *task) run(d *desk) (o outcome) {
	defer t.rescue(&o)
	return t.runner.run(d)
}

// rescue is deferred by whoever does something for a task.
func (t *task) rescue(o *outcome) {
	if p := recover(); p != nil {
		*o = t.runner.panicked(p)
	}
}

// An outcome is what is to become of a task that has run.
type outcome int

const (
	rest outcome = iota // until it is woken
	more                // to run again, behind the others
	lent                // to another goroutine, which gives it back with crew.settle
	over                // for good
)

// wake has t run, once more if it is running. It does not block, may be called by
// anyone, and does nothing for a task that is over.
func (c *crew) wake(t *task) {
	for {
		switch s := t.state.Load(); s {
		case running:
			if t.state.CompareAndSwap(running, again) {
				return
			}
		case idle:
			if t.state.CompareAndSwap(idle, queued) {
				c.push(t)
				return
			}
		default:
			return
		}
	}
}

// settle does with a task that has run what its outcome says. Whoever ran it calls
// it, and may not touch it afterwards.
func (c *crew) settle(t *task, o outcome) {
	switch {
	case o == over:
		t.state.Store(ended)
	case o == lent:
	case o == rest && t.state.CompareAndSwap(running, idle):
	default: // it was woken meanwhile
		t.state.Store(queued)
		c.push(t)
	}
}

func (c *crew) push(t *task) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.first = t
	} else {
		c.last.next = t
	}
	c.last = t
	if c.workers < c.most {
		c.workers++
		c.start(c.work)
	}
}

// work runs tasks until none is queued.
func (c *crew) work() {
	d := c.desks.Get().(*desk)
	defer c.desks.Put(d)
	for t := c.pull(); t != nil; t = c.pull() {
		for t != nil {
			next := t.next
			t.next = nil
			t.state.Store(running)
			d.load = load{}
			c.settle(t, t.run(d))
			t = next
		}
		c.count(&d.tally)
		runtime.Gosched()
	}
}

// pull returns a chain of tasks to run. If there is none, the worker is done.
func (c *crew) pull() *task {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.first
	if first == nil {
		c.workers--
		return nil
	}
	end := first
	for n := 1; n < turns && end.next != nil; n++ {
		end = end.next
	}
	c.first, end.next = end.next, nil
	if c.first == nil {
		c.last = nil
	}
	return first
}

// wait returns when no task runs any more. Nobody may wake one meanwhile.
func (c *crew) wait() { _ = c.running.wait(context.Background()) }

// start runs f in a goroutine that wait waits for.
func (c *crew) start(f func()) {
	c.running.enter()
	go func() {
		defer c.running.leave()
		f()
	}()
}
