package logfilter

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Filter{Period: 10 * time.Second}
		var passed []int
		for range 25 {
			if suppressed, ok := f.Pass(); ok {
				passed = append(passed, suppressed)
			}
			time.Sleep(time.Second)
		}
		if len(passed) != 3 || passed[0] != 0 || passed[1] != 9 || passed[2] != 9 {
			t.Errorf("lines passed with %v suppressed before them, want [0 9 9]", passed)
		}
	})
}
