//go:build !linux

package system

import "syscall"

// processAttributes puts a process and its children into their own group.
func processAttributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
