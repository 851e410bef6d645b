package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// A clock is a file that says how far a process's time is from the machine's. The
// process reads it each time it asks for the time, by way of libfaketime.
type clock struct {
	// Fixed by newClock.
	file    string
	library string // as LD_PRELOAD wants it

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

// faketime finds the library: the program of that name knows where it is.
func faketime() (string, error) {
	out, err := exec.Command("faketime", "-m", "-f", "+0", "printenv", "LD_PRELOAD").Output()
	library := strings.TrimSpace(string(out))
	if err != nil || library == "" {
		return "", errors.New("a clock that can be stepped needs Linux and libfaketime: install it (apt-get install faketime)")
	}
	return library, nil
}

// step moves the clock. The file is replaced, for the process may read it at any
// moment.
func (c *clock) step(d time.Duration) error {
	c.offset += d
	next := c.file + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%+f\n", c.offset.Seconds()), 0o600); err != nil {
		return err
	}
	return os.Rename(next, c.file)
}

// env are the settings for the process. Its timers go by the monotonic clock,
// which stays true.
//
// The C library comes second, so that its malloc is found before that of
// jemalloc: jemalloc asks for the time while libfaketime is not ready to give it,
// and redis-server would hang at its start.
func (c *clock) env() []string {
	return []string{
		"LD_PRELOAD=" + c.library + " libc.so.6",
		"FAKETIME_TIMESTAMP_FILE=" + c.file,
		"FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "DONT_FAKE_MONOTONIC=1", // its name, newer and older
	}
}

// tidy removes what libfaketime leaves behind of a process that was killed.
func (c *clock) tidy(pid int) {
	_ = os.Remove(fmt.Sprintf("/dev/shm/faketime_shm_%d", pid))
	_ = os.Remove(fmt.Sprintf("/dev/shm/sem.faketime_sem_%d", pid))
}
