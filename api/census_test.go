package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Who waits for a census to be empty has waited enough once it is, also if it is entered
// again at once; who comes later waits for those. A WaitGroup panics here: clients come
// back while Shutdown waits for the others.
func TestCensusEnteredAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds, waiting = 1000, 3
		var c census
		c.enter()
		for range rounds {
			ended := make(chan error, waiting)
			for range waiting {
				go func() { ended <- c.wait(t.Context()) }()
			}
			synctest.Wait() // they wait
			if len(ended) > 0 {
				t.Fatal("somebody has waited, and it was not empty")
			}
			c.leave()
			c.enter()
			for range waiting {
				if err := <-ended; err != nil {
					t.Fatal(err)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it was entered again, and whoever came then waited until %v", err)
		}
		c.leave()
		if err := c.wait(ctx); err != nil {
			t.Errorf("it is empty: %v", err) // also for who has no time to wait
		}
	})
}

// Many enter and leave a census while others wait for it: in the end it is empty, and
// nobody waits.
func TestCensusOfMany(t *testing.T) {
	const rounds, guests, waiting = 5000, 4, 2
	var c census
	var all sync.WaitGroup
	for range guests {
		all.Go(func() {
			for range rounds {
				c.enter()
				c.leave()
			}
		})
	}
	for range waiting {
		all.Go(func() {
			for range rounds {
				if err := c.wait(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	if c.n != 0 || c.empty != nil {
		t.Errorf("%d are left, somebody waits: %v", c.n, c.empty != nil)
	}
}
