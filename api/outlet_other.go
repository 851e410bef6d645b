//go:build !unix

package api

// writeOnce takes nothing: this system can't be asked, and each write waits.
func (o *outlet) writeOnce(uintptr) bool { return true }

// readable lets the reader wait: this system can't be asked.
func readable(uintptr) bool { return true }
