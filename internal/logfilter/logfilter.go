// Package logfilter keeps repeated failures from filling a log.
package logfilter

import (
	"sync"
	"time"
)

// A Filter lets one log line pass in each period, and counts the others. Period must be set
// and must not change. A Filter may be used concurrently.
type Filter struct {
	Period time.Duration

	mu         sync.Mutex // guards the fields below
	last       time.Time  // of the last line that passed
	suppressed int        // lines since then
}

// Pass reports whether a line may be logged now, and how many were suppressed since the last
// one.
func (f *Filter) Pass() (suppressed int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last) < f.Period {
		f.suppressed++
		return 0, false
	}
	suppressed = f.suppressed
	f.last, f.suppressed = time.Now(), 0
	return suppressed, true
}
