//go:build !linux

package redistest

import "os/exec"

// noOrphan does nothing: this system has no parent-death signal.
func noOrphan(*exec.Cmd) {}
