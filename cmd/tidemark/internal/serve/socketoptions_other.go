//go:build !linux

package serve

import "syscall"

// setTCPLimits does nothing: this system has no limit for unacknowledged data.
func setTCPLimits(_, _ string, _ syscall.RawConn) error { return nil }

// setSocketMode does nothing: on this system only the named file has a mode.
func setSocketMode(_, _ string, _ syscall.RawConn) error { return nil }
