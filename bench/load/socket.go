package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxMessage limits the bytes that a client keeps of an incomplete message.
const maxMessage = 128 << 10

var errTooLong = errors.New("message longer than 128 KiB")

// Reads and writes never block in this package. They bypass Go's scheduler, because
// telling it about a system call costs more than a short read.

// dial starts a connection. Once the socket is writable, the connection is established
// or has failed.
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

// closeWithReset closes a connection with a TCP reset, so that neither side keeps state
// of it.
func closeWithReset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	_ = unix.Close(fd)
}

// read returns 0 and no error at the end of the stream, and EAGAIN if no data is
// available.
func read(fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// write returns EAGAIN if the socket accepts no data, also while it is connecting.
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

// wait waits for socket events. Its limit has nanosecond resolution; the one of
// epoll_wait has milliseconds.
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

// A conn is a connection in the epoll loop, edge-triggered.
type conn struct {
	fd  int    // -1 while closed
	out []byte // unsent bytes
}

// send writes b and keeps the bytes that the socket does not accept.
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

// flush writes the bytes that send kept. It is called when the socket becomes writable.
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
		c.out = nil // thousands of clients should not each keep a buffer
	}
	return nil
}
