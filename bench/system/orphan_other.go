//go:build !linux

package system

import "syscall"

// attributes put a process and its children into a group of their own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
