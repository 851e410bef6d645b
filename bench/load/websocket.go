package load

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The kinds of frames.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

var errFrame = errors.New("not a frame that a server sends")

// A dialect is what is spoken in the text frames of a WebSocket.
type dialect interface {
	subprotocol() string           // "" for none
	upgraded(c *client) error      // the WebSocket stands
	message(*client, []byte) error // a text frame
}

// webSocket speaks a dialect on a WebSocket.
type webSocket struct{ dialect }

func (w webSocket) request(b []byte, _ *client) []byte {
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"...)
	if name := w.subprotocol(); name != "" {
		b = append(append(append(b, "Sec-WebSocket-Protocol: "...), name...), "\r\n"...)
	}
	return b
}

func (webSocket) status() int { return 101 }

func (w webSocket) accepted(c *client) error { return w.upgraded(c) }

// read takes whole frames.
func (w webSocket) read(c *client, b []byte) (used int, err error) {
	for {
		n, op, payload, err := readFrame(b[used:])
		if n == 0 || err != nil {
			return used, err
		}
		used += n
		switch op {
		case opText:
			err = w.message(c, payload)
		case opPing:
			err = c.send(appendFrame(nil, opPong, payload))
		case opClose:
			err = fmt.Errorf("the server closes: %.100q", payload)
		}
		if err != nil {
			return used, err
		}
	}
}

// readFrame reads the frame that b begins with, and returns its size, or 0 where b
// does not have all of it. Servers send unmasked frames, and none of these servers
// sends a message in parts.
func readFrame(b []byte) (size int, op byte, payload []byte, err error) {
	if len(b) < 2 {
		return 0, 0, nil, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 || b[0]&0xf == 0 {
		return 0, 0, nil, fmt.Errorf("%w: %x", errFrame, b[:2])
	}
	start, length := 2, uint64(b[1])
	switch {
	case length == 126:
		start = 4
	case length == 127:
		start = 10
	}
	if len(b) < start {
		return 0, 0, nil, nil
	}
	switch start {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxMessage {
		return 0, 0, nil, fmt.Errorf("%w: of %d bytes", errFrame, length)
	}
	size = start + int(length)
	if len(b) < size {
		return 0, 0, nil, nil
	}
	return size, b[0] & 0xf, b[start:size], nil
}

// appendFrame appends a frame of a client, whose mask is zero, so that the payload
// is what it is.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// bare has events as text frames, without ids.
type bare struct{}

func (bare) subprotocol() string { return "" }

func (bare) upgraded(c *client) error {
	c.follows()
	return nil
}

func (bare) message(c *client, m []byte) error { return c.event(m, nil) }

// tidemark speaks tidemark.v1.
type tidemark struct{}

func (tidemark) subprotocol() string { return "tidemark.v1" }

func (tidemark) upgraded(c *client) error {
	m := fmt.Appendf(nil, `{"op":"subscribe","room":"%s"`, c.room.name)
	if len(c.id) > 0 {
		m = fmt.Appendf(m, `,"since":"%s"`, c.id)
	}
	return c.send(appendFrame(nil, opText, append(m, '}')))
}

// message tells the frames apart by how they begin, which is fixed for events, the
// only ones that there are many of.
func (tidemark) message(c *client, m []byte) error {
	switch op := quoted(m, `{"op":"`); string(op) {
	case "event":
		data := bytes.Index(m, []byte(`"data":`))
		if data < 0 || len(m) < data+len(`"data":`)+dataSize {
			return fmt.Errorf("%w: %.200s", errData, m)
		}
		return c.event(m[data+len(`"data":`):][:dataSize], quoted(m, `"id":"`))
	case "gap":
		c.g.report.Gaps++
		return nil
	case "error":
		return fmt.Errorf("the server says: %.200s", m)
	default: // subscribed, live, position
		c.position(quoted(m, `"cursor":"`))
		c.follows()
		return nil
	}
}

// quoted is what follows in m after the first prefix, up to the next quote.
func quoted(m []byte, prefix string) []byte {
	_, m, found := bytes.Cut(m, []byte(prefix))
	end := bytes.IndexByte(m, '"')
	if !found || end < 0 {
		return nil
	}
	return m[:end]
}
