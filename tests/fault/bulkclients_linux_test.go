package fault_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

const (
	// bulkAddrs is the number of loopback addresses that bulk clients connect from. Each
	// address has at most 28,000 ports, and ports of an earlier test may still be taken.
	bulkAddrs = 16
	// bulkDials is the number of bulk clients that connect at the same time.
	bulkDials = 32
	// bulkReadSize bounds one read, in bytes.
	bulkReadSize = 256 << 10
)

// A bulkClients is thousands of clients that follow a node's rooms, each on one connection.
// One goroutine reads for all of them with epoll: with a goroutine for each, the machine
// would spend its time on the clients instead of the node. The checker compares their
// messages like those of every other client.
//
// It therefore has its own reads and chunk decoding. Blocks and frames are parsed by sse and
// ws.
type bulkClients struct {
	t       *testing.T
	addr    unix.SockaddrInet4 // the node's
	epoll   int
	stop    func()        // ends read; may be called repeatedly
	done    chan struct{} // closed when read has ended and closed all connections
	clients []*bulkClient

	mu   sync.Mutex // guards the field below
	byFD map[int32]*bulkClient
}

// A bulkClient is one client of a bulkClients.
type bulkClient struct {
	*client
	fd int // fixed by bulkClients.call

	// Owned by bulkClients.read.
	rest   []byte // an incomplete block or frame
	begun  bool   // the header of the answer has arrived
	opened int    // over WebSocket: the number of rooms whose position the server has named
	heard  time.Time
}

// newBulkClients starts n clients, half of them on each transport, that follow the ordinary
// rooms in turn. It returns when all are live. They stay until the system ends.
func (w *system) newBulkClients(n int, to *node) *bulkClients {
	w.t.Helper()
	addr, err := net.ResolveTCPAddr("tcp4", to.addr)
	if err != nil {
		w.t.Fatal(err)
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		w.t.Fatal(err)
	}
	quit := make(chan struct{})
	h := &bulkClients{
		t: w.t, addr: unix.SockaddrInet4{Port: addr.Port, Addr: [4]byte(addr.IP.To4())}, epoll: epoll,
		stop: sync.OnceFunc(func() { close(quit) }), done: make(chan struct{}), byFD: make(map[int32]*bulkClient, n),
	}
	rooms := w.ordinary()
	for i := range n {
		room := i / 2 % len(rooms)
		h.clients = append(h.clients, &bulkClient{client: w.enlist(&client{
			behavior: behavior{over: transport(i % 2), start: "since=now"}, name: clientName("bulk", room, i),
			tracks: []*track{{room: rooms[room]}}, stop: h.stop, done: h.done,
		})})
	}
	go h.read(quit)
	h.connect()
	for _, m := range h.clients {
		wait.Until(w.t, m.name+" to be live", m.isLive)
	}
	return h
}

// connect connects all clients, bulkDials at a time.
func (h *bulkClients) connect() {
	h.t.Helper()
	var calling sync.WaitGroup
	for caller := range bulkDials {
		calling.Go(func() {
			for i := caller; i < len(h.clients); i += bulkDials {
				if err := h.call(h.clients[i], byte(1+i%bulkAddrs)); err != nil {
					h.t.Errorf("%s: %v", h.clients[i].name, err)
					return
				}
			}
		})
	}
	calling.Wait()
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// call connects one client from the given address and sends its request.
func (h *bulkClients) call(m *bulkClient, from byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	h.mu.Lock()
	h.byFD[int32(fd)], m.fd = m, fd // read closes it from here on
	h.mu.Unlock()
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 1, from}}); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	addr := h.addr // Connect modifies its argument
	if err := unix.Connect(fd, &addr); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	m.begin(m.over)
	request := "GET /v1/ws HTTP/1.1\r\nHost: tidemark\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: tidemark.v1\r\n\r\n"
	if m.over == overSSE {
		request = m.streamRequest()
	}
	if err := m.send([]byte(request)); err != nil {
		return err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("set non-blocking: %w", err)
	}
	return unix.EpollCtl(h.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// send writes b, which is short enough for one write.
func (m *bulkClient) send(b []byte) error {
	n, err := unix.Write(m.fd, b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}

// read handles the data of all clients until quit is closed.
func (h *bulkClients) read(quit <-chan struct{}) {
	defer close(h.done)
	defer h.closeAll()
	const lookEvery = 50 // milliseconds, to notice quit
	events, buf := make([]unix.EpollEvent, 512), make([]byte, bulkReadSize)
	for {
		select {
		case <-quit:
			return
		default:
		}
		n, err := unix.EpollWait(h.epoll, events, lookEvery)
		if err != nil && err != unix.EINTR {
			h.t.Errorf("epoll_wait: %v", err)
			return
		}
		for _, e := range events[:max(n, 0)] {
			h.mu.Lock()
			m := h.byFD[e.Fd]
			h.mu.Unlock()
			if err := m.readable(buf); err != nil {
				h.t.Errorf("%s: the connection ends: %v", m.name, err)
				_ = unix.EpollCtl(h.epoll, unix.EPOLL_CTL_DEL, m.fd, nil)
				m.end()
			}
		}
	}
}

// closeAll resets all connections.
func (h *bulkClients) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for fd := range h.byFD {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		_ = unix.Close(int(fd))
	}
	_ = unix.Close(h.epoll)
}

// readable reads once and handles every complete block or frame. It may overwrite buf.
func (m *bulkClient) readable(buf []byte) error {
	n, err := unix.Read(m.fd, buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	now := time.Now()
	if !m.heard.IsZero() {
		m.w.noteSilence(now.Sub(m.heard))
	}
	m.heard = now
	text := buf[:n]
	if len(m.rest) > 0 {
		text = append(m.rest, text...)
	}
	rest, err := m.take(text)
	m.rest = nil
	if len(rest) > 0 {
		m.rest = bytes.Clone(rest)
	}
	return err
}

// take handles the complete part of text and returns the rest.
func (m *bulkClient) take(text []byte) (rest []byte, err error) {
	if !m.begun {
		header, behind, whole := bytes.Cut(text, []byte("\r\n\r\n"))
		if !whole {
			return text, nil
		}
		if err := m.answered(header); err != nil {
			return nil, err
		}
		text = behind
	}
	if m.over == overSSE {
		return m.takeChunks(text)
	}
	return m.takeFrames(text)
}

// answered checks the header of the answer.
func (m *bulkClient) answered(header []byte) error {
	m.begun = true
	if m.over == overSSE {
		if !bytes.HasPrefix(header, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("answered %q", header)
		}
		return nil
	}
	if !bytes.HasPrefix(header, []byte("HTTP/1.1 101 ")) {
		return fmt.Errorf("answered %q", header)
	}
	return m.send([]byte(ws.Frame(ws.Text, fmt.Sprintf(`{"op":"subscribe","room":%q,"since":"now","ref":0}`, m.tracks[0].room.name))))
}

// takeChunks handles the complete chunks of a chunked body (RFC 9112, 7.1). A node writes
// whole blocks into each chunk.
func (m *bulkClient) takeChunks(text []byte) (rest []byte, err error) {
	for {
		size, behind, whole := bytes.Cut(text, []byte("\r\n"))
		if !whole {
			return text, nil
		}
		n, err := strconv.ParseUint(string(size), 16, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("the chunk's size is %q", size)
		}
		if uint64(len(behind)) < n+2 {
			return text, nil
		}
		left, err := m.takeBlocks(behind[:n])
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("%q is left of a chunk", left)
		}
		if err != nil {
			return nil, err
		}
		text = behind[n+2:]
	}
}

// takeFrames handles the complete frames of a server (RFC 6455, 5.2).
func (m *bulkClient) takeFrames(text []byte) (rest []byte, err error) {
	for {
		kind, payload, behind, whole := ws.CutFrame(text)
		if !whole {
			return text, nil
		}
		switch kind {
		case ws.Text:
			err = m.takeFrame(payload, &m.opened)
		case ws.Ping:
			err = m.send([]byte(ws.Frame(ws.Pong, payload)))
		default:
			err = fmt.Errorf("a frame of kind %d: %q", kind, payload)
		}
		if err != nil {
			return nil, err
		}
		text = behind
	}
}
