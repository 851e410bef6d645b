// Package floor is the least that a server can do to hand one event to many: a loop
// of write(2) over their sockets, from two threads of one process. What a real
// server takes is compared with it.
//
// It speaks as much HTTP as the load generator needs. GET is answered with a stream
// of Server-Sent Events; whatever is posted goes to all streams, in blocks as
// Tidemark sends them, and is answered when it is written.
package floor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// threads is how many write at once.
const threads = 2

// Run serves on a free port of loopback, the address of which it writes to w, until
// it fails.
func Run(w io.Writer) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	addr, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	port := addr.(*unix.SockaddrInet4).Port
	if _, err := fmt.Fprintln(w, net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err != nil {
		return err
	}
	return newServer().serve(fd)
}

// A server has streams, and writes to them.
type server struct {
	work    [threads]chan []byte // a block for each writer's part of the streams
	written sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	streams []int      // sockets
	events  int
}

// newServer starts the writers, which end with the process.
func newServer() *server {
	s := new(server)
	for i := range threads {
		s.work[i] = make(chan []byte)
		go s.write(i)
	}
	return s
}

// write is the loop that is measured.
func (s *server) write(part int) {
	runtime.LockOSThread()
	for block := range s.work[part] {
		first, end := len(s.streams)*part/threads, len(s.streams)*(part+1)/threads
		for _, fd := range s.streams[first:end] {
			_, _, _ = unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&block[0])), uintptr(len(block)))
		}
		s.written.Done()
	}
}

func (s *server) serve(listener int) error {
	for {
		fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ECONNABORTED) {
			continue
		}
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		if err := s.accepted(fd); err != nil {
			_ = unix.Close(fd)
			fmt.Fprintln(os.Stderr, "floor:", err)
		}
	}
}

const streamHeader = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n"

// accepted waits for the first request. Clients that are slow to send it hold up
// the others.
func (s *server) accepted(fd int) error {
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return err
	}
	if bytes.HasPrefix(buf[:n], []byte("GET ")) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams = append(s.streams, fd)
		_, err = unix.Write(fd, []byte(streamHeader))
		return err
	}
	go s.publisher(fd, buf, n) // until the connection ends
	return nil
}

// publisher takes one request after the other, n bytes of which are in buf.
func (s *server) publisher(fd int, buf []byte, n int) {
	defer unix.Close(fd)
	for {
		if body, whole := request(buf[:n]); whole {
			s.publish(body)
			if _, err := unix.Write(fd, []byte("HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")); err != nil {
				return
			}
			n = 0
		}
		more, err := unix.Read(fd, buf[n:])
		if err != nil || more == 0 {
			return
		}
		n += more
	}
}

// request finds the body of a request, if b has all of it.
func request(b []byte) (body []byte, whole bool) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	_, value, known := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !found || !known {
		return nil, false
	}
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	size, err := strconv.Atoi(string(value))
	return body, err == nil && len(body) >= size
}

// publish writes an event to all streams, and returns when that is done.
func (s *server) publish(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events++
	block := fmt.Appendf(nil, "data: %s\nid: 01%024d\n\n", data, s.events)
	s.written.Add(threads)
	for _, w := range s.work {
		w <- block
	}
	s.written.Wait()
}
