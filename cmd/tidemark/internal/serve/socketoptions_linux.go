package serve

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// setTCPLimits bounds what a client can make the system hold on a listening socket: the time
// for unacknowledged data to maxSilence, and data that is not sent yet to maxNotSent.
// Accepted connections inherit both limits.
func setTCPLimits(_, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(maxSilence.Milliseconds())),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, maxNotSent),
		)
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
