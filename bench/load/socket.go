package load

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Reads and writes never block here, so they are made without telling Go's
// scheduler of them: that costs more than a short read does.

// dial begins to connect. The connection stands, or has failed, once the socket is
// writable.
func dial(addr netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	if err != nil && err != unix.EINPROGRESS {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", addr, err)
	}
	return fd, nil
}

// reset closes a connection so that its peer sees a reset, and nothing of it stays.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// read returns 0 and no error at the end of the stream, and EAGAIN where there is nothing.
func read(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// write returns EAGAIN where nothing can be written, also while connecting.
func write(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno == unix.ENOTCONN {
		errno = unix.EAGAIN
	}
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// wait waits for events, to the nanosecond where epoll_wait knows milliseconds only.
func wait(epoll int, events []unix.EpollEvent, limit time.Duration) (int, error) {
	spec := unix.NsecToTimespec(max(0, limit.Nanoseconds()))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&spec)), 0, 0)
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, fmt.Errorf("epoll_pwait2: %w", errno)
}

// A conn is a connection that is watched by the loop, edge-triggered.
type conn struct {
	fd  int    // -1 while there is none
	out []byte // what the socket did not take yet
}

// send writes b, or keeps what the socket does not take.
func (c *conn) send(b []byte) error {
	if len(c.out) == 0 {
		n, err := write(c.fd, b)
		if err != nil && err != unix.EAGAIN {
			return fmt.Errorf("write: %w", err)
		}
		b = b[n:]
	}
	c.out = append(c.out, b...)
	return nil
}

// flush writes what send has kept. It is called when the socket becomes writable.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	n, err := write(c.fd, c.out)
	if err != nil && err != unix.EAGAIN {
		return fmt.Errorf("write: %w", err)
	}
	c.out = append(c.out[:0], c.out[n:]...)
	if len(c.out) == 0 {
		c.out = nil // thousands of clients keep no buffer
	}
	return nil
}
