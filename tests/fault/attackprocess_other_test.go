//go:build !linux

package fault_test

// attackProcess does nothing: only Linux has attackers.
func attackProcess() {}
