package fault_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/ws"
)

// errNotSubscribed is the error of a node that could not read the log to start.
var errNotSubscribed = errors.New("not subscribed")

// followSocket follows the client's rooms over WebSocket until the connection ends.
func (c *client) followSocket(w *clientConn) error {
	socket, err := ws.Upgrade(w, ws.Options{Timeout: openLimit})
	if err != nil {
		return err
	}
	if err := c.subscribe(socket); err != nil {
		return err
	}
	return c.readSocket(w, socket)
}

// subscribe asks for each room after its own cursor.
func (c *client) subscribe(socket *ws.Conn) error {
	for i, t := range c.tracks {
		ask := map[string]any{"op": "subscribe", "room": t.room.name, "ref": i}
		c.mu.Lock()
		cursor := t.cursor
		c.mu.Unlock()
		switch key, value, _ := strings.Cut(c.start, "="); {
		case !cursor.IsZero():
			ask["since"] = cursor.String()
		case key == "last":
			ask[key] = int(atou(value))
		default:
			ask[key] = value
		}
		if err := socket.WriteJSON(ask); err != nil {
			return err
		}
	}
	return nil
}

// readSocket handles frames until the connection ends.
func (c *client) readSocket(w *clientConn, socket *ws.Conn) error {
	var buf bytes.Buffer
	opened := 0
	for {
		_, in, err := socket.NextReader()
		if err != nil {
			return err
		}
		buf.Reset()
		if _, err := io.Copy(&buf, in); err != nil {
			return err
		}
		err = c.takeFrame(buf.Bytes(), &opened)
		if errors.Is(err, errNotSubscribed) {
			return err
		}
		if err != nil {
			err = fmt.Errorf("frame %q: %w", buf.Bytes(), err)
			c.w.t.Errorf("%s: %v", c.name, err)
			return err
		}
		w.opened = opened == len(c.tracks)
	}
}

// takeFrame handles one frame. opened counts the rooms whose position the server has named.
func (c *client) takeFrame(text []byte, opened *int) error {
	now := c.w.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if rest, ok := bytes.CutPrefix(text, []byte(`{"op":"event","room":"`)); ok {
		return c.takeEventLocked(rest, now)
	}
	var said struct {
		Op, Room, Cursor, Code, Detail string
		Ref                            *int
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return err
	}
	t := c.trackOf([]byte(said.Room))
	switch {
	case said.Op == "position":
		return c.positionLocked([]byte(said.Cursor))
	case said.Op == "error":
		c.noteLocked("told: %s %s %s", said.Code, said.Room, said.Detail)
		if said.Ref != nil {
			return errNotSubscribed
		}
		c.outageLocked(said.Code)
		return nil
	case t == nil:
		return fmt.Errorf("of a room that was not asked for")
	case said.Op == "gap":
		return c.takeGapLocked(text)
	}
	at, err := parseID([]byte(said.Cursor))
	if err != nil {
		return err
	}
	switch said.Op {
	case "subscribed":
		t.opened(at)
		c.noteLocked("%s: opened at %v", t.room.name, at)
		if *opened++; *opened == len(c.tracks) {
			c.open = true
		}
	case "live":
		t.moved(at)
		c.liveLocked()
		c.noteLocked("%s: live at %v", t.room.name, at)
	default:
		return fmt.Errorf("unknown frame")
	}
	return nil
}

// takeEventLocked handles an event; text starts at its room's name. For speed it relies on
// the order in which a node writes the members.
func (c *client) takeEventLocked(text []byte, now time.Duration) error {
	name, rest, ok := bytes.Cut(text, []byte(`","id":"`))
	t := c.trackOf(name)
	if !ok || t == nil {
		return fmt.Errorf("not an event of a room that was asked for")
	}
	if len(rest) < streams.IDLen {
		return fmt.Errorf("no id")
	}
	id, err := parseID(rest[:streams.IDLen])
	if err != nil {
		return err
	}
	_, data, _ := bytes.Cut(rest, []byte(`"data":`))
	m, ok := parseMark(data)
	if !ok {
		return fmt.Errorf("data without a mark")
	}
	c.eventLocked(t, entry{id, m}, now)
	return nil
}

// positionLocked moves each room to a position that holds for all of them.
func (c *client) positionLocked(cursor []byte) error {
	for _, t := range c.tracks {
		if !t.joined {
			continue
		}
		id, err := c.component(cursor, t.room.partition)
		if err != nil {
			return err
		}
		t.moved(id)
	}
	return nil
}
