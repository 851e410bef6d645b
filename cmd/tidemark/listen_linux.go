package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// limitSilence sets silenceWait on a listening socket. Those that it accepts
// inherit it.
func limitSilence(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(silenceWait.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

// limitMode sets a Unix socket's mode before it has a name, so that its file is never
// open to more than socketMode allows.
func limitMode(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), socketMode) })
	if err != nil {
		return err
	}
	return failed
}
