//go:build !linux

package serve

import "syscall"

// setTCPLimits does nothing, because this system does not have these socket options.
func setTCPLimits(_, _ string, _ syscall.RawConn) error { return nil }

// setSocketMode does nothing: on this system only the named file has a mode.
func setSocketMode(_, _ string, _ syscall.RawConn) error { return nil }
