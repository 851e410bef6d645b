//go:build !linux

package redistest

import "os/exec"

// endWithParent does nothing: this system has no parent-death signal.
func endWithParent(*exec.Cmd) {}
