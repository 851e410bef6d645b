//go:build unix

package conn

import "syscall"

// writeOnce writes until the socket is full. It returns true in every case, so that the
// runtime does not wait for room and call it again.
func (w *Writer) writeOnce(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), w.b[w.n:])
		if n > 0 {
			w.n += n
		}
		switch err {
		case syscall.EINTR:
			continue
		case nil, syscall.EAGAIN:
		default:
			w.err = err
		}
		return true
	}
}

// readable reports whether a read would return at once.
func readable(fd uintptr) bool {
	var peeked [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), peeked[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}
