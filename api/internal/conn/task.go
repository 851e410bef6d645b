package conn

import "sync/atomic"

// A Task is a connection's place in the scheduler. It runs in one goroutine at a time: a
// worker's, or one that it was detached to.
type Task struct {
	runner Runner
	next   *Task
	state  atomic.Int32
}

// The states of a task. The zero state is that of a task which its owner has not started.
//
//	from      event                       to
//	running   wake                        runAgain
//	running   result Idle                 idle
//	running   result Again                queued
//	running   result Detached             running, in another goroutine
//	runAgain  result Idle or Again        queued
//	any       result Closed               closed, for good
//	idle      wake                        queued
//	queued    a worker takes it           running
const (
	stateRunning = iota
	stateRunAgain
	stateQueued
	stateIdle
	stateClosed
)

// A Runner does the work of a connection.
type Runner interface {
	// Run does what is due, without waiting. It writes at most once.
	Run(w *Worker) Result

	// Held returns the size, in bytes, of the data that the task has taken from the node
	// and not encoded yet.
	Held() int

	// Shed drops the data that the node has read ahead for the client, because the client
	// has not taken a write for a second. It is called while the task waits in that write,
	// by another goroutine, and returns before the task goes on.
	Shed()

	// Panicked is called instead of a result if Run panics: a failure for one client must
	// not end the others.
	Panicked(value any) Result
}

// A Result says what happens to a task that has run.
type Result int

const (
	Idle     Result = iota // wait to be woken
	Again                  // run again, behind the tasks that are queued
	Detached               // another goroutine has the task and reattaches it
	Closed                 // never run again
)

func (t *Task) run(w *Worker) (r Result) {
	defer t.rescue(&r)
	return t.runner.Run(w)
}

// rescue turns a panic into the runner's result. A function that works for a task defers it.
func (t *Task) rescue(r *Result) {
	if p := recover(); p != nil {
		*r = t.runner.Panicked(p)
	}
}

// wake makes t run, once more if it is running. It does not block, may be called from any
// goroutine, and does nothing for a closed task.
func (s *Scheduler) wake(t *Task) {
	for {
		switch state := t.state.Load(); state {
		case stateRunning:
			if t.state.CompareAndSwap(stateRunning, stateRunAgain) {
				return
			}
		case stateIdle:
			if t.state.CompareAndSwap(stateIdle, stateQueued) {
				s.push(t)
				return
			}
		default:
			return
		}
	}
}

// reattach hands a task that has run back to the scheduler, with its result. The caller
// must not touch the task afterwards.
func (s *Scheduler) reattach(t *Task, r Result) {
	switch {
	case r == Closed:
		t.state.Store(stateClosed)
	case r == Detached:
	case r == Idle && t.state.CompareAndSwap(stateRunning, stateIdle):
	default: // Again, or woken meanwhile
		t.state.Store(stateQueued)
		s.push(t)
	}
}

// detach runs f, which may wait, in a goroutine of its own, which is the task until f
// returns.
func (s *Scheduler) detach(t *Task, f func() Result) Result {
	s.Go(func() {
		s.reattach(t, func() (r Result) {
			defer t.rescue(&r)
			return f()
		}())
	})
	return Detached
}
