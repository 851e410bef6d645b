package load

import (
	"bytes"
	"fmt"
)

// socketIO speaks Socket.IO: engine.io packets, of which those that begin with 4
// have Socket.IO packets within.
type socketIO struct{}

func (socketIO) subprotocol() string { return "" }

func (socketIO) upgraded(*client) error { return nil } // the server speaks first

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
		c.follows()
		return nil
	case bytes.HasPrefix(m, []byte(`42["event",`)):
		return s.event(c, m[len(`42["event",`):])
	}
	return fmt.Errorf("a packet that is not understood: %.100q", m)
}

func (socketIO) send(c *client, packet string) error {
	return c.conn.send(appendFrame(nil, opText, []byte(packet)))
}

// connect asks for the client's session where it had one.
func (socketIO) connect(c *client) string {
	if c.session == "" || len(c.id) == 0 {
		return "40"
	}
	return fmt.Sprintf(`40{"pid":"%s","offset":"%s"}`, c.session, c.id)
}

// event takes the arguments of an event: its data, and its offset if it has one.
// Offsets are random where the events are in memory, so there is no order to check.
func (socketIO) event(c *client, args []byte) error {
	if len(args) < dataSize {
		return fmt.Errorf("%w: %.200s", errData, args)
	}
	c.position(quoted(args[dataSize:], `,"`))
	return c.event(args[:dataSize], nil)
}
