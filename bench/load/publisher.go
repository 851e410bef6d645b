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

var errRefused = errors.New("a publish was not acknowledged")

// A publisher publishes on one connection.
type publisher struct {
	conn
	g     *Generator
	index int
	to    Publish

	up      bool // it can publish
	rest    []byte
	waiting []request // without an answer, the oldest first
}

// A request is one that was sent.
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
	if p.to.How == PublishSocket {
		b := append([]byte("GET "+p.to.Path+" HTTP/1.1\r\nHost: "+p.to.Addr+"\r\n"), webSocket{tidemark{}}.request(nil, nil)...)
		return p.send(append(b, "\r\n"...))
	}
	return nil
}

// ready is called by the loop.
func (p *publisher) ready(events uint32) error {
	err := p.work(events)
	if err != nil {
		return fmt.Errorf("a publisher to %s: %w", p.to.Addr, err)
	}
	return nil
}

func (p *publisher) work(events uint32) error {
	if events&unix.EPOLLOUT != 0 {
		if p.to.How == Post {
			p.up = true
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
		kept := copy(p.g.buf, p.rest)
		n, err := read(p.fd, p.g.buf[kept:])
		switch {
		case err == unix.EAGAIN:
			return nil
		case err != nil:
			return fmt.Errorf("read: %w", err)
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		used, err := p.take(p.g.buf[:kept+n])
		if err != nil {
			return err
		}
		p.rest = append(p.rest[:0], p.g.buf[used:kept+n]...)
		if kept+n < len(p.g.buf) {
			return nil
		}
	}
}

// take takes whole answers from b, and returns how much that is.
func (p *publisher) take(b []byte) (used int, err error) {
	for used < len(b) {
		var n int
		if p.to.How == PublishSocket && p.up {
			n, err = p.frame(b[used:])
		} else {
			n, err = p.answer(b[used:])
		}
		if n == 0 || err != nil {
			return used, err
		}
		used += n
	}
	return used, nil
}

// frame takes the answer to one message, or a ping.
func (p *publisher) frame(b []byte) (used int, err error) {
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

// answer takes an HTTP answer.
func (p *publisher) answer(b []byte) (used int, err error) {
	h, ok, err := readHeader(b)
	if !ok || err != nil {
		return 0, err
	}
	if h.status == 101 && p.to.How == PublishSocket {
		p.up = true
		return h.size, nil
	}
	body, size, err := wholeBody(h, b[h.size:])
	if size < 0 || err != nil {
		return 0, err
	}
	if h.status/100 != 2 || bytes.Contains(body, []byte(`"error"`)) {
		return 0, fmt.Errorf("%w: status %d: %.500q", errRefused, h.status, body)
	}
	return h.size + size, p.acknowledged()
}

// acknowledged notes the answer to the oldest request.
func (p *publisher) acknowledged() error {
	if len(p.waiting) == 0 {
		return fmt.Errorf("%w: an answer to nothing", errRefused)
	}
	r := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	r.room.acknowledged += uint64(r.events)
	p.g.acknowledged(p, r.events)
	return nil
}

// publish sends one request, whose events say that they were sent at that time.
func (p *publisher) publish(r *room, sent int64) error {
	items := max(1, p.to.Batch)
	body := p.body(r, sent, items)
	var b []byte
	if p.to.How == PublishSocket {
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
	p.waiting = append(p.waiting, request{r, items})
	p.g.owed += int64(r.followers) * int64(items)
	return p.send(b)
}

// body is that of one request with so many events.
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

// item appends the template with the next event of the room.
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
