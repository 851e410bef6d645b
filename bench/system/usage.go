package system

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// clockTick is the unit of times in /proc/<pid>/stat: USER_HZ, which is 100 on every
// platform of Linux.
const clockTick = 10 * time.Millisecond

// CPU returns the processor time that the processes have used, in user mode and in the
// kernel.
func CPU(pids ...int) (sum time.Duration, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		_, text, _ = bytes.Cut(text, []byte(") ")) // the process name before it may contain spaces
		fields := bytes.Fields(text)
		if len(fields) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat: %q", pid, text)
		}
		for _, field := range fields[11:13] {
			ticks, err := strconv.ParseInt(string(field), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/%d/stat: %w", pid, err)
			}
			sum += time.Duration(ticks) * clockTick
		}
	}
	return sum, nil
}

// Memory returns the resident memory of the processes in bytes. Memory that they share
// is counted once.
func Memory(pids ...int) (sum int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			return 0, err
		}
		_, text, _ = bytes.Cut(text, []byte("\nPss:"))
		fields := bytes.Fields(text)
		if len(fields) == 0 {
			return 0, fmt.Errorf("/proc/%d/smaps_rollup has no Pss", pid)
		}
		kilobytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("/proc/%d/smaps_rollup: %w", pid, err)
		}
		sum += kilobytes << 10
	}
	return sum, nil
}
