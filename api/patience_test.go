package api

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// However often somebody else has the log asked in between, it is asked again once:
// or each keep-alive in an outage would add to how often it is.
func TestPatienceAsksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p patience
		var asked atomic.Int64
		for i := range 10 {
			if first := p.begin(func() { asked.Add(1) }); first != (i == 0) {
				t.Errorf("begin %d: first is %v", i, first)
			}
		}
		time.Sleep(2 * backoffMost)
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		p.end()
		if p.begin(func() { asked.Add(1) }); p.wait != backoffFirst {
			t.Errorf("after an answer the first wait is %v", p.wait)
		}
		p.end()
		time.Sleep(time.Minute)
		if asked.Load() != 1 {
			t.Error("asked after the end")
		}
	})
}
