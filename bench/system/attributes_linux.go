package system

import "syscall"

// processAttributes puts a process and its children into their own group. It also makes
// the kernel kill the process when the parent dies without cleaning up. The kernel
// watches the thread that started the process, so that thread must not end first.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
