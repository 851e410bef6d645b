package system

import "syscall"

// attributes put a process and its children into a group of their own, and end it
// with this process, also where that has no time to clean up. That counts from the thread
// that starts the process, which must not end before it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
