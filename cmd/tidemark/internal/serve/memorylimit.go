package serve

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/service"
)

const (
	// limitRatio is the part of a cgroup's memory that the Go runtime may use. The rest is
	// left for the kernel's memory of sockets and files, which counts against the cgroup.
	limitRatio = 0.9
	// defaultMemory stands for the machine's memory where it cannot be read, in bytes.
	defaultMemory = 1 << 30
	// shareDivisor is the number of equal shares of the memory limit. Replays, hot tails,
	// unsent data and bodies take one each. The other half is for connections, rooms and
	// garbage.
	shareDivisor = 8

	maxReplayMemory = 1 << 40
)

// memoryFlags bound the data that clients make a node hold.
type memoryFlags struct {
	MaxReplayMemory int64 `default:"0" placeholder:"BYTES" group:"limits" help:"Maximum size of the event data that the node holds for catch-ups, of the data in its hot tails, and of the data that slow clients have not taken: each of the three has this limit. 0: an eighth of the memory limit, which is GOMEMLIMIT, or that of the cgroup, or the machine's memory (default)."`
}

// check refuses a limit that is out of range. maxData is the value of --max-data.
func (f *memoryFlags) check(maxData int) error {
	least := minReplayMemory(maxData)
	if n := f.MaxReplayMemory; n != 0 && (n < least || n > maxReplayMemory) {
		return cli.UsageError(fmt.Sprintf("--max-replay-memory: %d, want %d (for one client and --max-data) to %d, or 0", n, least, int64(maxReplayMemory)))
	}
	return nil
}

// minReplayMemory returns the unsent data that one client may need: a page of history, or a
// batch and its encoding, each with one event of the largest size. With a lower limit, a
// client that does not take such an event at once would be disconnected on every resume.
func minReplayMemory(maxData int) int64 { return 2*service.HistoryBytes + 4*int64(maxData) }

// replayMemory returns the limit to use. The default is memoryShare, or more if a single
// client may need more.
func (f *memoryFlags) replayMemory(maxData int) int64 {
	if f.MaxReplayMemory != 0 {
		return f.MaxReplayMemory
	}
	return max(memoryShare(), minReplayMemory(maxData))
}

// setMemoryLimit makes the Go runtime respect the memory limit of the process's cgroup. The
// environment's GOMEMLIMIT takes precedence.
func setMemoryLimit(logger *slog.Logger) {
	limit, err := memlimit.Set(memlimit.WithRatio(limitRatio))
	switch {
	case errors.Is(err, memlimit.ErrCgroupsNotSupported), errors.Is(err, memlimit.ErrNoCgroup):
	case err != nil:
		logger.Warn("could not read the memory limit of the cgroup: set GOMEMLIMIT", "error", err)
	case limit != math.MaxInt64:
		logger.Info("memory is limited", "bytes", limit)
	}
}

// memoryShare returns an eighth of the memory limit, in bytes, or of the machine's memory
// without a limit.
func memoryShare() int64 {
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		return limit / shareDivisor
	}
	machine, err := memlimit.FromSystem()
	if err != nil || machine == 0 || machine > math.MaxInt64 {
		machine = defaultMemory
	}
	return int64(machine) / shareDivisor
}
