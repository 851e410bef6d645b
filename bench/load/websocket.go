package load

import (
	"bytes"
	"fmt"
)

// A textProtocol is the protocol inside the text frames of a WebSocket.
type textProtocol interface {
	subprotocol() string           // "" for none
	upgraded(c *client) error      // called when the WebSocket is open
	message(*client, []byte) error // handles a text frame
}

// webSocket speaks a textProtocol over a WebSocket.
type webSocket struct{ textProtocol }

func (w webSocket) request(b []byte, _ *client) []byte {
	b = append(b, "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"...)
	if name := w.subprotocol(); name != "" {
		b = append(append(append(b, "Sec-WebSocket-Protocol: "...), name...), "\r\n"...)
	}
	return b
}

func (webSocket) status() int { return 101 }

func (w webSocket) accepted(c *client) error { return w.upgraded(c) }

// read consumes complete frames.
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
			err = fmt.Errorf("the server closed the WebSocket: %.100q", payload)
		}
		if err != nil {
			return used, err
		}
	}
}

// bare receives events as plain text frames without ids.
type bare struct{}

func (bare) subprotocol() string { return "" }

func (bare) upgraded(c *client) error {
	c.markFollowing()
	return nil
}

func (bare) message(c *client, m []byte) error { return c.event(m, nil) }

// tidemark speaks tidemark.v1.
type tidemark struct{}

func (tidemark) subprotocol() string { return "tidemark.v1" }

func (tidemark) upgraded(c *client) error {
	m := fmt.Appendf(nil, `{"op":"subscribe","room":"%s"`, c.room.name)
	if len(c.cursor) > 0 {
		m = fmt.Appendf(m, `,"since":"%s"`, c.cursor)
	}
	return c.send(appendFrame(nil, opText, append(m, '}')))
}

// message handles a frame by its first bytes instead of parsing the JSON. The fields of
// event frames have a fixed order, and almost all frames are events.
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
		return fmt.Errorf("the server reported an error: %.200s", m)
	default: // subscribed, live, position
		c.setCursor(quoted(m, `"cursor":"`))
		c.markFollowing()
		return nil
	}
}

// socketIO speaks Socket.IO. Messages are engine.io packets; those that begin with 4
// carry a Socket.IO packet.
type socketIO struct{}

func (socketIO) subprotocol() string { return "" }

func (socketIO) upgraded(*client) error { return nil } // the server sends the first message

func (s socketIO) message(c *client, m []byte) error {
	switch {
	case bytes.HasPrefix(m, []byte("0")): // open
		return s.send(c, s.connect(c))
	case bytes.HasPrefix(m, []byte("2")): // ping
		return s.send(c, "3")
	case bytes.HasPrefix(m, []byte("40")): // connected
		if pid := quoted(m, `"pid":"`); pid != nil {
			c.session = string(pid)
		}
		return s.send(c, fmt.Sprintf(`42["join","%s"]`, c.room.name))
	case bytes.HasPrefix(m, []byte(`42["joined"`)):
		c.markFollowing()
		return nil
	case bytes.HasPrefix(m, []byte(`42["event",`)):
		return s.event(c, m[len(`42["event",`):])
	}
	return fmt.Errorf("unexpected packet: %.100q", m)
}

func (socketIO) send(c *client, packet string) error {
	return c.conn.send(appendFrame(nil, opText, []byte(packet)))
}

// connect returns the packet that connects the client and, if it had a session, asks to
// recover it.
func (socketIO) connect(c *client) string {
	if c.session == "" || len(c.cursor) == 0 {
		return "40"
	}
	return fmt.Sprintf(`40{"pid":"%s","offset":"%s"}`, c.session, c.cursor)
}

// event handles the arguments of an event: its data and, if present, its offset. The
// in-memory adapter uses random offsets, so their order is not checked.
func (socketIO) event(c *client, args []byte) error {
	if len(args) < dataSize {
		return fmt.Errorf("%w: %.200s", errData, args)
	}
	c.setCursor(quoted(args[dataSize:], `,"`))
	return c.event(args[:dataSize], nil)
}

// quoted returns the text in m between the first occurrence of prefix and the next
// quote.
func quoted(m []byte, prefix string) []byte {
	_, m, found := bytes.Cut(m, []byte(prefix))
	end := bytes.IndexByte(m, '"')
	if !found || end < 0 {
		return nil
	}
	return m[:end]
}
