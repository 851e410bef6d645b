package conn

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However often other events make the connection ask the log in between, one call is
// scheduled. Otherwise each keep-alive in an outage would add to the rate of calls.
func TestRetryAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Retry
		var asked atomic.Int64
		ask := func() { asked.Add(1) }
		for i := range 10 {
			if first := r.Schedule(ask); first != (i == 0) {
				t.Errorf("call %d: first is %v", i, first)
			}
		}
		time.Sleep(2 * maxRetry)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		r.Stop()
		r.Schedule(ask)
		time.Sleep(firstRetry)
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("after an answer the first delay is longer than %v", firstRetry)
		}
		r.Schedule(ask)
		r.Stop()
		time.Sleep(time.Minute)
		if n := asked.Load(); n != 2 {
			t.Error("asked after Stop")
		}
	})
}
