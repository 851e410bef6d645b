// Package backoff computes the delays between retries of an operation that fails.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff is a series of delays that doubles from First up to Max. Each delay is
// random between half of its nominal length and all of it, so that callers that failed
// together do not retry together. First and Max must be set and must not change. A
// Backoff is not safe for concurrent use.
type Backoff struct {
	First, Max time.Duration

	nominal time.Duration // the last delay before it was randomized; 0 after Reset
}

// Next returns the next delay.
func (b *Backoff) Next() time.Duration {
	b.nominal = min(max(2*b.nominal, b.First), b.Max)
	return b.nominal/2 + rand.N(b.nominal/2+1)
}

// Reset starts the series again at First. Call it when the operation has succeeded.
func (b *Backoff) Reset() { b.nominal = 0 }

// Wait sleeps for the next delay. It returns ctx's error if ctx ends first.
func (b *Backoff) Wait(ctx context.Context) error {
	timer := time.NewTimer(b.Next())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
