package redistest

import (
	"os/exec"
	"syscall"
)

// noOrphan ends the process with this one, also where that has no time for
// cleaning up: at a test's time limit, say. It counts from the thread that starts
// the process, which must not end before it.
func noOrphan(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
