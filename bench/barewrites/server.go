// Package barewrites is the least work a server can do to send one event to many
// clients: a loop of write(2) over their sockets, on two threads of one process. The
// benchmarks compare real servers with it.
//
// It speaks only the HTTP that the load generator needs. GET returns a stream of
// Server-Sent Events. POST sends its body to every stream, framed like a Tidemark
// event, and returns 201 after the last write.
package barewrites

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

// threads is the number of threads that write at the same time.
const threads = 2

// Run serves on a free loopback port and writes the address to w. It returns only on an
// error.
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

// A server keeps the open streams and writes each event to all of them.
type server struct {
	work    [threads]chan []byte // one block for each writer's part of the streams
	written sync.WaitGroup

	mu      sync.Mutex // guards the fields below
	streams []int      // sockets
	events  int
}

// newServer starts the writers. They run until the process ends.
func newServer() *server {
	s := new(server)
	for i := range threads {
		s.work[i] = make(chan []byte)
		go s.writeLoop(i)
	}
	return s
}

// writeLoop is the loop that is measured.
func (s *server) writeLoop(part int) {
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
		if err := s.handleConn(fd); err != nil {
			_ = unix.Close(fd)
			fmt.Fprintln(os.Stderr, "bare-writes:", err)
		}
	}
}

const streamHeader = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: hi\n\n"

// handleConn reads the first request. A client that sends it slowly delays the others.
func (s *server) handleConn(fd int) error {
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
	go s.servePublisher(fd, buf, n) // returns when the connection ends
	return nil
}

// servePublisher serves one request after another. buf already holds n bytes of the
// first one.
func (s *server) servePublisher(fd int, buf []byte, n int) {
	defer unix.Close(fd)
	for {
		if body, complete := requestBody(buf[:n]); complete {
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

// requestBody returns the body of the request in b. complete is false if part of it is
// missing.
func requestBody(b []byte) (body []byte, complete bool) {
	head, body, found := bytes.Cut(b, []byte("\r\n\r\n"))
	_, value, hasLength := bytes.Cut(head, []byte("\r\nContent-Length: "))
	if !found || !hasLength {
		return nil, false
	}
	value, _, _ = bytes.Cut(value, []byte("\r\n"))
	size, err := strconv.Atoi(string(value))
	return body, err == nil && len(body) >= size
}

// publish writes an event to all streams and returns after the last write.
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
