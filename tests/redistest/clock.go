package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A clock is a file with the difference between a process's time and the machine's.
// libfaketime makes the process read it whenever it asks for the time.
type clock struct {
	// Fixed by newClock.
	file    string
	library string // in the form of LD_PRELOAD

	offset time.Duration // owned by the test's goroutine
}

func newClock(file string) (*clock, error) {
	library, err := faketime()
	if err != nil {
		return nil, err
	}
	c := &clock{file: file, library: library}
	return c, c.step(0)
}

// faketime returns the path of the library, which the program faketime knows.
func faketime() (string, error) {
	out, err := exec.Command("faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD").Output()
	library := strings.TrimSpace(string(out))
	if err != nil || library == "" {
		return "", errors.New("a clock that can be stepped needs Linux and libfaketime: install it (apt-get install faketime)")
	}
	return library, nil
}

// step moves the clock. It replaces the file, because the process may read it at any moment.
func (c *clock) step(d time.Duration) error {
	c.offset += d
	next := c.file + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%+f\n", c.offset.Seconds()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, c.file)
}

// env returns the environment of the process. Its timers use the monotonic clock, which
// stays true.
//
// The C library is second in LD_PRELOAD so that its malloc precedes that of jemalloc:
// jemalloc asks for the time before libfaketime is ready, and redis-server would hang at its
// start.
func (c *clock) env() []string {
	return []string{
		"LD_PRELOAD=" + c.library + " libc.so.6",
		"FAKETIME_TIMESTAMP_FILE=" + c.file,
		"FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", // both names: of newer and older versions
	}
}

// tidy removes the shared memory that libfaketime leaves of a killed process.
func (c *clock) tidy(pid int) {
	_ = os.Remove(fmt.Sprintf("/dev/shm/faketime_shm_%d", pid))
	_ = os.Remove(fmt.Sprintf("/dev/shm/sem.faketime_sem_%d", pid))
}
