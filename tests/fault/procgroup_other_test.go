//go:build !linux

package fault_test

import (
	"os/exec"
	"syscall"
)

// ownGroup makes the process the leader of its own process group, so that the whole group
// can be killed.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
