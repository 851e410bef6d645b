package conn

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Wait returns once the count was 0, even if it grows again at once; a later Wait waits for
// the new ones. A WaitGroup panics here, because clients reconnect while Shutdown waits for
// others.
func TestInFlightAddedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds, waiting = 1000, 3
		var f InFlight
		f.Add()
		for range rounds {
			ended := make(chan error, waiting)
			for range waiting {
				go func() { ended <- f.Wait(t.Context()) }()
			}
			synctest.Wait() // they wait
			if len(ended) > 0 {
				t.Fatal("Wait returned while the count was not 0")
			}
			f.Done()
			f.Add()
			for range waiting {
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := f.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after it grew again, a later Wait returned %v", err)
		}
		f.Done()
		if err := f.Wait(ctx); err != nil {
			t.Errorf("at 0, with a context that has ended: %v", err)
		}
	})
}

// Goroutines add and remove while others wait. In the end the count is 0 and none waits.
func TestInFlightConcurrently(t *testing.T) {
	const rounds, adding, waiting = 5000, 4, 2
	var f InFlight
	var all sync.WaitGroup
	for range adding {
		all.Go(func() {
			for range rounds {
				f.Add()
				f.Done()
			}
		})
	}
	for range waiting {
		all.Go(func() {
			for range rounds {
				if err := f.Wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if f.n != 0 || f.empty != nil {
		t.Errorf("the count is %d, a caller waits: %v", f.n, f.empty != nil)
	}
}
