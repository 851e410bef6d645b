package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestNextDoublesUpToMax(t *testing.T) {
	b := Backoff{First: 100 * time.Millisecond, Max: time.Second}
	for round := range 2 {
		for i, nominal := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			nominal *= time.Millisecond
			if got := b.Next(); got < nominal/2 || got > nominal {
				t.Errorf("round %d: delay %d is %v, want %v to %v", round, i, got, nominal/2, nominal)
			}
		}
		b.Reset()
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: time.Minute, Max: time.Hour}
		start := time.Now()
		if err := b.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if waited := time.Since(start); waited < 30*time.Second || waited > time.Minute {
			t.Errorf("waited %v, want 30 s to 1 min", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after ctx ended Wait returned %v", err)
		}
	})
}
