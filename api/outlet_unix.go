//go:build unix

package api

import "syscall"

// writeOnce asks the system once. It always reports true: not to be called again
// when there is room.
func (o *outlet) writeOnce(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), o.b[o.n:])
		if n > 0 {
			o.n += n
		}
		switch err {
		case syscall.EINTR:
			continue
		case nil, syscall.EAGAIN:
		default:
			o.err = err
		}
		return true
	}
}

// readable reports whether a read would not wait.
func readable(fd uintptr) bool {
	var peeked [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), peeked[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
