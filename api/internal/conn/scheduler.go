package conn

import (
	"context"
	"runtime"
	"sync"
)

// chainLength is the number of tasks that a worker runs before it lets other goroutines
// run. A broadcast to ten thousand connections keeps every processor busy for a while, and
// requests arrive meanwhile.
const chainLength = 16

// A Scheduler runs the tasks of connections that have something to do. An event for ten
// thousand connections wakes as many tasks, but only one worker per processor: a connection
// needs neither a goroutine nor a buffer of its own to be written to.
//
// While no task is queued, no worker exists.
type Scheduler struct {
	maxWorkers int
	deliveries *Deliveries

	mu          sync.Mutex // guards the fields below, and Task.next
	first, last *Task      // the queue
	workers     int

	pool    sync.Pool // of *Worker
	running InFlight  // workers and goroutines started by Go
}

// A Worker lends its buffer and counters to the tasks that it runs.
type Worker struct {
	// Buf is empty when a task starts. A task stores its grown buffer here for the next
	// task, cut to length 0.
	Buf []byte
	// Stats describe the write that the task is preparing.
	Stats WriteStats

	counters counters // of the tasks of one chain
}

// NewScheduler returns a Scheduler whose workers report to d.
func NewScheduler(d *Deliveries) *Scheduler {
	return &Scheduler{
		maxWorkers: runtime.GOMAXPROCS(0),
		deliveries: d,
		pool:       sync.Pool{New: func() any { return new(Worker) }},
	}
}

// Go runs f in a goroutine that Wait waits for.
func (s *Scheduler) Go(f func()) {
	s.running.Add()
	go func() {
		defer s.running.Done()
		f()
	}()
}

// Wait returns when no task runs any more. Meanwhile no task may be woken.
func (s *Scheduler) Wait() { _ = s.running.Wait(context.Background()) }

func (s *Scheduler) push(t *Task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.first = t
	} else {
		s.last.next = t
	}
	s.last = t
	if s.workers < s.maxWorkers {
		s.workers++
		s.Go(s.work)
	}
}

// work runs tasks until the queue is empty.
func (s *Scheduler) work() {
	w := s.pool.Get().(*Worker)
	defer s.pool.Put(w)
	for t := s.pull(); t != nil; t = s.pull() {
		for t != nil {
			next := t.next
			t.next = nil
			t.state.Store(stateRunning)
			w.Stats = WriteStats{}
			s.reattach(t, t.run(w))
			t = next
		}
		s.deliveries.take(&w.counters)
		runtime.Gosched()
	}
}

// pull takes a chain of at most chainLength tasks off the queue. If the queue is empty, it
// returns nil and the worker must end.
func (s *Scheduler) pull() *Task {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.first
	if first == nil {
		s.workers--
		return nil
	}
	end := first
	for n := 1; n < chainLength && end.next != nil; n++ {
		end = end.next
	}
	s.first, end.next = end.next, nil
	if s.first == nil {
		s.last = nil
	}
	return first
}
