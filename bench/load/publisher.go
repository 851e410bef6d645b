package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

var errRefused = errors.New("publish was not acknowledged")

// A publisher publishes on one connection.
type publisher struct {
	conn
	g     *Generator
	index int
	to    Publish

	connected  bool // ready to publish
	partial    []byte
	unanswered []request // oldest first
}

// A request is a publish that was sent.
type request struct {
	room   *room
	events int
}

func (p *publisher) connect() error {
	addr, err := netip.ParseAddrPort(p.to.Addr)
	if err != nil {
		return err
	}
	if p.fd, err = dial(addr); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(p.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return fmt.Errorf("TCP_NODELAY: %w", err)
	}
	if err := p.g.watch(p.fd, p); err != nil {
		return err
	}
	if p.to.How == PublishWebSocket {
		b := append([]byte("GET "+p.to.Path+" HTTP/1.1\r\nHost: "+p.to.Addr+"\r\n"), webSocket{tidemark{}}.request(nil, nil)...)
		return p.send(append(b, "\r\n"...))
	}
	return nil
}

// ready implements endpoint.
func (p *publisher) ready(events uint32) error {
	err := p.handle(events)
	if err != nil {
		return fmt.Errorf("publisher to %s: %w", p.to.Addr, err)
	}
	return nil
}

func (p *publisher) handle(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if p.to.How == Post {
			p.connected = true
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	if events&^unix.EPOLLOUT == 0 {
		return nil
	}
	p.g.now = p.g.clock()
	for {
		kept := copy(p.g.buf, p.partial)
		n, err := read(p.fd, p.g.buf[kept:])
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		used, err := p.consume(p.g.buf[:kept+n])
		if err != nil {
			return err
		}
		p.partial = append(p.partial[:0], p.g.buf[used:kept+n]...)
		if kept+n < len(p.g.buf) {
			return nil
		}
	}
}

// consume processes complete answers in b and returns the number of bytes consumed.
func (p *publisher) consume(b []byte) (used int, err error) {
	for used < len(b) {
		var n int
		if p.to.How == PublishWebSocket && p.connected {
			n, err = p.consumeFrame(b[used:])
		} else {
			n, err = p.consumeAnswer(b[used:])
		}
		if n == 0 || err != nil {
			return used, err
		}
		used += n
	}
	return used, nil
}

// consumeFrame processes the answer to one message, or a ping.
func (p *publisher) consumeFrame(b []byte) (used int, err error) {
	n, op, payload, err := readFrame(b)
	switch {
	case n == 0 || err != nil:
		return 0, err
	case op == opPing:
		return n, p.send(appendFrame(nil, opPong, payload))
	case op != opText || !bytes.HasPrefix(payload, []byte(`{"op":"published"`)):
		return 0, fmt.Errorf("%w: %.300q", errRefused, payload)
	}
	return n, p.acknowledged()
}

// consumeAnswer processes one HTTP response.
func (p *publisher) consumeAnswer(b []byte) (used int, err error) {
	h, ok, err := readHeader(b)
	if !ok || err != nil {
		return 0, err
	}
	if h.status == 101 && p.to.How == PublishWebSocket {
		p.connected = true
		return h.size, nil
	}
	body, size, err := completeBody(h, b[h.size:])
	if size < 0 || err != nil {
		return 0, err
	}
	if h.status/100 != 2 || bytes.Contains(body, []byte(`"error"`)) {
		return 0, fmt.Errorf("%w: status %d: %.500q", errRefused, h.status, body)
	}
	return h.size + size, p.acknowledged()
}

// acknowledged handles the answer to the oldest request.
func (p *publisher) acknowledged() error {
	if len(p.unanswered) == 0 {
		return fmt.Errorf("%w: an answer without a request", errRefused)
	}
	r := p.unanswered[0]
	p.unanswered = slices.Delete(p.unanswered, 0, 1)
	r.room.acknowledged += uint64(r.events)
	p.g.acknowledged(p, r.events)
	return nil
}

// publish sends one request. sent is the time that its events carry.
func (p *publisher) publish(r *room, sent int64) error {
	items := max(1, p.to.Batch)
	body := p.body(r, sent, items)
	var b []byte
	if p.to.How == PublishWebSocket {
		b = appendFrame(p.g.scratch[:0], opText, body)
	} else {
		b = append(p.g.scratch[:0], "POST "...)
		b = append(b, strings.ReplaceAll(p.to.Path, "{room}", r.name)...)
		b = append(append(b, " HTTP/1.1\r\nHost: "...), p.to.Addr...)
		b = append(b, "\r\nContent-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
		b = append(b, body...)
	}
	p.g.scratch = b
	p.unanswered = append(p.unanswered, request{r, items})
	p.g.expected += int64(r.followers) * int64(items)
	return p.send(b)
}

// body returns the body of a request with the given number of events.
func (p *publisher) body(r *room, sent int64, items int) []byte {
	if p.to.Batch <= 1 {
		p.g.body = p.item(p.g.body[:0], p.to.Body, r, sent)
		return p.g.body
	}
	before, after, _ := strings.Cut(p.to.Body, "{items}")
	b := append(p.g.body[:0], before...)
	for i := range items {
		if i > 0 {
			b = append(b, ',')
		}
		b = p.item(b, p.to.Item, r, sent)
	}
	p.g.body = append(b, after...)
	return p.g.body
}

// item appends the template, filled in with the next event of the room.
func (p *publisher) item(b []byte, template string, r *room, sent int64) []byte {
	for template != "" {
		before, after, found := strings.Cut(template, "{")
		b = append(b, before...)
		switch {
		case !found:
			return b
		case strings.HasPrefix(after, "room}"):
			b, template = append(b, r.name...), after[len("room}"):]
		case strings.HasPrefix(after, "data}"):
			b, template = appendData(b, p.index, r.number(p.index), sent), after[len("data}"):]
		default:
			b, template = append(b, '{'), after
		}
	}
	return b
}
