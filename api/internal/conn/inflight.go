package conn

import (
	"context"
	"sync"
)

// InFlight counts running requests, connections or goroutines, so that a shutdown can wait
// for them. Unlike a WaitGroup, it may grow while callers wait for it.
type InFlight struct {
	mu    sync.Mutex // guards the fields below
	n     int
	empty chan struct{} // closed when n drops to 0; nil while no caller waits
}

// Add counts one more.
func (f *InFlight) Add() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n++
}

// Done counts one less.
func (f *InFlight) Done() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n--
	if f.n == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// Wait returns nil once the count was 0, or ctx's error if ctx ends first.
func (f *InFlight) Wait(ctx context.Context) error {
	f.mu.Lock()
	if f.n == 0 {
		f.mu.Unlock()
		return nil
	}
	if f.empty == nil {
		f.empty = make(chan struct{})
	}
	empty := f.empty
	f.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
