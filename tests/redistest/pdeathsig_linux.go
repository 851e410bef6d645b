package redistest

import (
	"os/exec"
	"syscall"
)

// endWithParent makes the kernel end the process with this one, even if this one cannot clean up,
// for example at a test's time limit. The signal belongs to the thread that starts the
// process, which must not end before it.
func endWithParent(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
