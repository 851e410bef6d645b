//go:build !linux

package fault_test

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the leader of a group of its own, which can be killed as
// a whole.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
