package fault_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A round is a period in which publishers publish, clients follow and faults are injected.
type round struct {
	lasts      time.Duration
	publishers []*publisher
	tracks     [][]fault     // each track injects one fault at a time, at random
	calm       time.Duration // mean pause of a track between two faults
	once       []fault       // injected once each, evenly spread over the round
}

// run runs a round to its end and compares.
func (w *system) run(r round) {
	w.t.Helper()
	end := w.begin(r.publishers)
	ctx, cancel := context.WithTimeout(context.Background(), r.lasts)
	defer cancel()
	var injecting sync.WaitGroup
	for _, track := range r.tracks {
		rng := w.newRand()
		injecting.Go(func() { w.injectAtRandom(ctx, track, r.calm, rng) })
	}
	newcomers := w.newRand()
	injecting.Go(func() { w.newcomers(ctx, newcomers) })
	rng := w.newRand()
	for _, f := range r.once {
		w.rest(ctx, r.lasts/time.Duration(1+len(r.once)))
		w.inject(f, rng)
	}
	<-ctx.Done()
	injecting.Wait()
	end()
}

// begin starts publishers. end waits until all nodes are ready and every event is
// acknowledged, and compares. Call end when all faults have ended.
func (w *system) begin(publishers []*publisher) (end func()) {
	ctx, stop := context.WithCancel(context.Background())
	var publishing sync.WaitGroup
	for _, p := range publishers {
		publishing.Go(func() { p.run(ctx) })
	}
	w.t.Cleanup(stop) // for a test that ends before its round
	return func() {
		w.t.Helper()
		w.awaitReady()
		w.settling.Store(true)
		stop()
		publishing.Wait()
		w.settle()
	}
}

// injectAtRandom injects one fault after the other until ctx ends.
func (w *system) injectAtRandom(ctx context.Context, faults []fault, calm time.Duration, rng *rand.Rand) {
	deck := []int(nil) // each fault comes once before any comes twice
	for {
		w.rest(ctx, between(rng, calm/2, calm*3/2))
		if ctx.Err() != nil {
			return
		}
		if len(deck) == 0 {
			deck = rng.Perm(len(faults))
		}
		w.inject(faults[deck[0]], rng)
		deck = deck[1:]
	}
}

// rest sleeps for d, or until ctx ends.
func (w *system) rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
