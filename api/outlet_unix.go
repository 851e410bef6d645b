//go:build unix

package api

import (
	"syscall"
)

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
