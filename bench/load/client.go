package load

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// maxMessage bounds what a client keeps of a message that has not come as a whole.
const maxMessage = 128 << 10

var errLong = errors.New("a message is too long")

// A protocol is what a client speaks after it has connected.
type protocol interface {
	// request appends the fields of the request's header.
	request(b []byte, c *client) []byte
	// status is the one by which the server accepts.
	status() int
	// accepted is called when it has.
	accepted(c *client) error
	// read takes whole messages from b, and returns how much that is.
	read(c *client, b []byte) (used int, err error)
}

// speak finds a protocol by its name.
func speak(name string) (protocol, error) {
	switch name {
	case SSE:
		return sse{}, nil
	case TidemarkSocket:
		return webSocket{tidemark{}}, nil
	case BareSocket:
		return webSocket{bare{}}, nil
	case SocketIO:
		return webSocket{socketIO{}}, nil
	}
	return nil, fmt.Errorf("no protocol is called %q", name)
}

// A target is a Follow, understood.
type target struct {
	Follow
	addr     netip.AddrPort
	protocol protocol
}

func newTarget(f Follow) (*target, error) {
	addr, err := netip.ParseAddrPort(f.Addr)
	if err != nil {
		return nil, err
	}
	p, err := speak(f.Protocol)
	return &target{f, addr, p}, err
}

type clientState uint8

const (
	away      clientState = iota
	asking                // the request is sent, or will be when the connection stands
	accepted              // the header of the answer is there
	following             // events will come
)

// A client follows one room.
type client struct {
	conn
	g      *Generator
	target *target
	room   *room

	state   clientState
	chunked bool
	chunk   chunker
	rest    []byte // of a message that has not come as a whole

	// What it keeps from one connection to the next.
	seq     sequence
	id      []byte // its cursor; empty if it has none
	session string // Socket.IO's
	base    uint64 // events of the room that were before its time
	have    uint64 // distinct events that it has

	due   uint64 // how many it has to have for what it came back for
	since int64  // when it came back; 0: it has that
}

// connect begins to connect, and to resume where the client was before.
func (c *client) connect() error {
	fd, err := dial(c.target.addr)
	if err != nil {
		return err
	}
	c.conn = conn{fd: fd}
	c.state, c.chunked, c.chunk, c.rest = asking, false, chunker{}, c.rest[:0]
	c.g.opening++
	if err := c.g.watch(fd, c); err != nil {
		return err
	}
	b := append(c.g.scratch[:0], "GET "...)
	b = append(b, strings.ReplaceAll(c.target.Path, "{room}", c.room.name)...)
	b = append(append(append(b, " HTTP/1.1\r\nHost: "...), c.target.Addr...), "\r\n"...)
	b = append(c.target.protocol.request(b, c), "\r\n"...)
	c.g.scratch = b
	return c.send(b)
}

// cut breaks the connection, if there is one.
func (c *client) cut() {
	if c.state == away {
		return
	}
	if c.state != following {
		c.g.opening--
	}
	c.g.drop(c.fd)
	c.conn, c.state = conn{fd: -1}, away
}

// ready is called by the loop.
func (c *client) ready(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if err := c.flush(); err != nil {
			return c.wrap(err)
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	return c.wrap(c.receive(events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0))
}

func (c *client) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("a client of %s on %s%s: %w", c.room.name, c.target.Addr, c.target.Path, err)
}

// receive reads all that is there. A short read has emptied the socket, unless the
// stream has ended behind it.
func (c *client) receive(ended bool) error {
	c.g.now = c.g.clock()
	for c.state != away {
		kept := copy(c.g.buf, c.rest)
		n, err := read(c.fd, c.g.buf[kept:])
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		rest, err := c.take(c.g.buf[:kept+n], kept)
		if err != nil {
			return err
		}
		if len(rest) > maxMessage {
			return errLong
		}
		c.rest = append(c.rest[:0], rest...)
		if kept+n < len(c.g.buf) && !ended {
			return nil
		}
	}
	return nil
}

// take understands b, the first kept bytes of which were there before, and returns
// what is to be kept of it.
func (c *client) take(b []byte, kept int) (rest []byte, err error) {
	if c.state == asking {
		h, ok, err := readHeader(b)
		if !ok || err != nil {
			return b, err
		}
		if h.status != c.target.protocol.status() {
			return nil, fmt.Errorf("status %d: %.300q", h.status, b)
		}
		c.state, c.chunked = accepted, h.chunked
		b, kept = b[h.size:], 0
		if err := c.target.protocol.accepted(c); err != nil {
			return nil, err
		}
	}
	if c.chunked {
		n, err := c.chunk.decode(b[kept:])
		if err != nil {
			return nil, err
		}
		b = b[:kept+n]
	}
	used, err := c.target.protocol.read(c, b)
	return b[used:], err
}

// follows notes that the client follows its room.
func (c *client) follows() {
	if c.state == accepted {
		c.state = following
		c.g.opening--
	}
}

// position notes the client's cursor, if there is one.
func (c *client) position(id []byte) {
	if len(id) > 0 {
		c.id = append(c.id[:0], id...)
	}
}

// event checks an event and counts it. id is nil where the protocol has none.
func (c *client) event(data, id []byte) error {
	publisher, number, err := readData(data)
	if err != nil {
		return err
	}
	verdict, err := c.seq.take(publisher, number)
	if err != nil {
		return err
	}
	switch {
	case verdict == repeated:
		c.g.report.Repeated++
		return nil
	case verdict == late || len(id) > 0 && !rises(id, c.id):
		c.g.report.OutOfOrder++
	}
	c.position(id)
	c.have++
	c.g.delivered(sentAt, data)
	if c.since != 0 && c.have >= c.due {
		c.back()
	}
	return nil
}

// comeBack connects a client that was cut.
func (c *client) comeBack(now int64) error {
	if c.due = c.room.acknowledged - c.base; c.have < c.due {
		c.since = now
	}
	return c.connect()
}

// back notes how long the client took to get what it came back for, or, where it
// is cut before that, how long it has been waiting for it.
func (c *client) back() {
	if c.since != 0 {
		c.g.latencies = append(c.g.latencies, c.g.now-c.since)
		c.since = 0
	}
}
