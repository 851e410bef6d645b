package load

import (
	"fmt"
	"io"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// A protocol is the application protocol that a client uses after connecting.
type protocol interface {
	// request appends the protocol's request header fields.
	request(b []byte, c *client) []byte
	// status returns the HTTP status with which the server accepts.
	status() int
	// accepted is called once the server has accepted.
	accepted(c *client) error
	// read consumes complete messages from b and returns the number of bytes consumed.
	read(c *client, b []byte) (used int, err error)
}

// protocolByName returns the protocol with the given name.
func protocolByName(name string) (protocol, error) {
	switch name {
	case SSE:
		return sse{}, nil
	case TidemarkWebSocket:
		return webSocket{tidemark{}}, nil
	case BareWebSocket:
		return webSocket{bare{}}, nil
	case SocketIO:
		return webSocket{socketIO{}}, nil
	}
	return nil, fmt.Errorf("unknown protocol %q", name)
}

// A target is a Follow with its address and protocol resolved.
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
	p, err := protocolByName(f.Protocol)
	return &target{f, addr, p}, err
}

type clientState uint8

const (
	disconnected clientState = iota
	requesting               // the request is sent, or will be once the connection is established
	accepted                 // the response header has arrived
	following                // the subscription is confirmed
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
	partial []byte // the part of an incomplete message that has arrived

	// State that survives a reconnect.
	sequence sequence
	cursor   []byte // empty before the first position
	session  string // Socket.IO session id
	baseline uint64 // events of the room that were acknowledged before the client opened
	received uint64 // distinct events received

	replayTarget  uint64 // value of received that completes the current replay
	reconnectedAt int64  // time of the reconnect; 0 once the replay is complete
}

// connect starts a connection that resumes from the client's cursor.
func (c *client) connect() error {
	fd, err := dial(c.target.addr)
	if err != nil {
		return err
	}
	c.conn = conn{fd: fd}
	c.state, c.chunked, c.chunk, c.partial = requesting, false, chunker{}, c.partial[:0]
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

// disconnect resets the connection, if one is open.
func (c *client) disconnect() {
	if c.state == disconnected {
		return
	}
	if c.state != following {
		c.g.opening--
	}
	c.g.drop(c.fd)
	c.conn, c.state = conn{fd: -1}, disconnected
}

// ready implements endpoint.
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
	return fmt.Errorf("client of room %s at %s%s: %w", c.room.name, c.target.Addr, c.target.Path, err)
}

// receive reads all available bytes. A short read means that the socket is empty,
// unless the stream has ended after those bytes.
func (c *client) receive(ended bool) error {
	c.g.now = c.g.clock()
	for c.state != disconnected {
		kept := copy(c.g.buf, c.partial)
		n, err := read(c.fd, c.g.buf[kept:])
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		rest, err := c.consume(c.g.buf[:kept+n], kept)
		if err != nil {
			return err
		}
		if len(rest) > maxMessage {
			return errTooLong
		}
		c.partial = append(c.partial[:0], rest...)
		if kept+n < len(c.g.buf) && !ended {
			return nil
		}
	}
	return nil
}

// consume processes b, of which the first kept bytes were left over from the last call.
// It returns the bytes to keep for the next call.
func (c *client) consume(b []byte, kept int) (rest []byte, err error) {
	if c.state == requesting {
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

// markFollowing records that the client's subscription is confirmed.
func (c *client) markFollowing() {
	if c.state == accepted {
		c.state = following
		c.g.opening--
	}
}

// setCursor stores the client's cursor. An empty id changes nothing.
func (c *client) setCursor(id []byte) {
	if len(id) > 0 {
		c.cursor = append(c.cursor[:0], id...)
	}
}

// event checks and counts an event. id is nil if the protocol has no ids.
func (c *client) event(data, id []byte) error {
	publisher, number, err := readData(data)
	if err != nil {
		return err
	}
	arrival, err := c.sequence.record(publisher, number)
	if err != nil {
		return err
	}
	switch {
	case arrival == repeated:
		c.g.report.Repeated++
		return nil
	case arrival == late || len(id) > 0 && !isAfter(id, c.cursor):
		c.g.report.OutOfOrder++
	}
	c.setCursor(id)
	c.received++
	c.g.delivered(sentAt, data)
	if c.reconnectedAt != 0 && c.received >= c.replayTarget {
		c.recordReplay()
	}
	return nil
}

// reconnect connects a disconnected client and starts to measure its replay.
func (c *client) reconnect(now int64) error {
	if c.replayTarget = c.room.acknowledged - c.baseline; c.received < c.replayTarget {
		c.reconnectedAt = now
	}
	return c.connect()
}

// recordReplay records how long the client has taken to receive the events it missed.
// If it is disconnected before that, the time until the disconnect is recorded.
func (c *client) recordReplay() {
	if c.reconnectedAt != 0 {
		c.g.latencies = append(c.g.latencies, c.g.now-c.reconnectedAt)
		c.reconnectedAt = 0
	}
}
