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
		{8 << 20, 0, 2<<20 + 4<<20}, // an eighth is less than one client may need
	} {
		debug.SetMemoryLimit(tt.limit)
		f := memoryFlags{MaxReplayMemory: tt.flag}
		if got := f.replayMemory(1 << 20); got != tt.want {
			t.Errorf("limit %d, flag %d: %d bytes, want %d", tt.limit, tt.flag, got, tt.want)
		}
	}
}

// A client can take the largest event and the largest page within the smallest limit.
func TestMemoryFlags(t *testing.T) {
	for _, maxData := range []int{64 << 10, 64 << 20} {
		least := 2<<20 + 4*int64(maxData)
		for n, valid := range map[int64]bool{0: true, -1: false, least - 1: false, least: true, maxReplayMemory + 1: false} {
			f := memoryFlags{MaxReplayMemory: n}
			if err := f.check(maxData); (err == nil) != valid {
				t.Errorf("--max-data %d, --max-replay-memory %d: %v", maxData, n, err)
			}
		}
	}
}
