package serve

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// setUserTimeout bounds the time for unacknowledged data to maxSilence on a listening
// socket. Accepted connections inherit the limit.
func setUserTimeout(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(maxSilence.Milliseconds()))
	})
	if err != nil {
		return err
	}
	return failed
}

// setSocketMode sets a Unix socket's mode before the socket has a name, so that its file
// never allows more than socketMode.
func setSocketMode(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), socketMode) })
	if err != nil {
		return err
	}
	return failed
}
