package serve

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// The share follows the memory limit of the process, and a flag overrides it.
func TestMemoryShare(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	machine, err := memlimit.FromSystem()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ limit, flag, want int64 }{
		{math.MaxInt64, 0, int64(machine) / 8},
		{800 << 20, 0, 100 << 20},
		{800 << 20, 5 << 20, 5 << 20},
	} {
		debug.SetMemoryLimit(tt.limit)
		f := memoryFlags{MaxReplayMemory: tt.flag}
		if got := f.replayMemory(); got != tt.want {
			t.Errorf("limit %d, flag %d: %d bytes, want %d", tt.limit, tt.flag, got, tt.want)
		}
	}
}

func TestMemoryFlags(t *testing.T) {
	for n, valid := range map[int64]bool{0: true, -1: false, minReplayMemory - 1: false, minReplayMemory: true, maxReplayMemory + 1: false} {
		f := memoryFlags{MaxReplayMemory: n}
		if err := f.check(); (err == nil) != valid {
			t.Errorf("--max-replay-memory %d: %v", n, err)
		}
	}
}
