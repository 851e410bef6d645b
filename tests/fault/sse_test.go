package fault_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/internal/sse"
)

// followStream follows the client's rooms over SSE until the connection ends.
func (c *client) followStream(w *clientConn) error {
	if _, err := io.WriteString(w, c.streamRequest()); err != nil {
		return err
	}
	in := bufio.NewReaderSize(w, 4<<10)
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return c.refused(resp)
	}
	return c.readStream(w, resp.Body)
}

// A statusError is the status of an answer other than a stream.
type statusError int

func (s statusError) Error() string { return "answered " + itoa(int(s)) }

// refused handles such an answer. nginx sends one while no node answers. A node itself must
// not refuse these requests.
func (c *client) refused(resp *http.Response) error {
	if resp.StatusCode < 500 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		c.w.t.Errorf("%s: a follow was refused: %s %s", c.name, resp.Status, text)
	}
	return statusError(resp.StatusCode)
}

// streamRequest returns the request of the next connection.
func (c *client) streamRequest() string {
	c.mu.Lock()
	cursor := c.cursorsLocked()
	c.mu.Unlock()
	path, query := "/v1/rooms/"+string(c.tracks[0].room.name)+"/events", url.Values{}
	if c.several {
		path = "/v1/events"
		for _, t := range c.tracks {
			query.Add("room", string(t.room.name))
		}
	}
	header := ""
	switch {
	case cursor == "":
		key, value, _ := strings.Cut(c.start, "=")
		query.Set(key, value)
	case c.rng.IntN(2) == 0:
		query.Set("last_event_id", cursor)
	default:
		header = "Last-Event-ID: " + cursor + "\r\n"
	}
	return "GET " + path + "?" + query.Encode() + " HTTP/1.1\r\nHost: tidemark\r\nAccept: text/event-stream\r\n" + header + "\r\n"
}

// readStream handles blocks until the stream ends. It discards an incomplete block.
func (c *client) readStream(w *clientConn, body io.Reader) error {
	buf := make([]byte, 0, 8<<10)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		rest, bad := c.takeBlocks(buf)
		w.opened = w.opened || c.isOpen()
		if bad != nil {
			c.w.t.Errorf("%s: %v", c.name, bad)
			return bad
		}
		buf = buf[:copy(buf, rest)]
		if err != nil {
			return err
		}
	}
}

// takeBlocks handles the complete blocks of text and returns the rest.
func (c *client) takeBlocks(text []byte) (rest []byte, err error) {
	now := c.w.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		block, rest, complete := sse.Cut(text)
		if !complete {
			return text, nil
		}
		b, err := sse.Parse(block)
		if err == nil {
			err = c.takeBlockLocked(b, now)
		}
		if err != nil {
			return nil, fmt.Errorf("block %q: %w", block, err)
		}
		text = rest
	}
}

func (c *client) takeBlockLocked(b sse.Raw, now time.Duration) error {
	if own, ok := bytes.CutPrefix(b.Event, []byte("tidemark.")); ok {
		return c.takeNewsLocked(string(own), b)
	}
	if b.Data == nil {
		return c.movedLocked(b.ID)
	}
	t, data := c.tracks[0], b.Data
	if c.several {
		var name []byte
		var ok bool
		if name, data, ok = unwrap(data); !ok {
			return fmt.Errorf("not an event of a room")
		}
		if t = c.trackOf(name); t == nil {
			return fmt.Errorf("of a room that was not asked for")
		}
	}
	id, err := c.component(b.ID, t.room.partition)
	if err != nil {
		return err
	}
	m, ok := parseMark(data)
	if !ok {
		return fmt.Errorf("data without a mark")
	}
	c.eventLocked(t, entry{id, m}, now)
	return c.movedLocked(b.ID)
}

// takeNewsLocked handles a block that is not an event of a room.
func (c *client) takeNewsLocked(kind string, b sse.Raw) error {
	switch kind {
	case "open":
		return c.openedLocked(b)
	case "live":
		c.liveLocked()
		c.noteLocked("live at %s, %s", b.ID, b.Data)
		return c.movedLocked(b.ID)
	case "gap":
		if err := c.takeGapLocked(b.Data); err != nil {
			return err
		}
		return c.movedLocked(b.ID)
	case "error":
		c.noteLocked("told: %s", b.Data)
		var said struct{ Code string }
		err := json.Unmarshal(b.Data, &said)
		c.outageLocked(said.Code)
		return err
	}
	return fmt.Errorf("unknown news")
}

func (c *client) openedLocked(b sse.Raw) error {
	for _, t := range c.tracks {
		id, err := c.component(b.ID, t.room.partition)
		if err != nil {
			return err
		}
		t.opened(id)
	}
	c.open = true
	c.noteLocked("opened by %s at %s", b.Data, b.ID)
	return nil
}

// movedLocked moves every room to the cursor of a block.
func (c *client) movedLocked(cursor []byte) error {
	if cursor == nil {
		return nil // a comment, or an error
	}
	for _, t := range c.tracks {
		id, err := c.component(cursor, t.room.partition)
		if err != nil {
			return err
		}
		t.moved(id)
	}
	return nil
}

// takeGapLocked handles a gap notice, which is the same on both transports.
func (c *client) takeGapLocked(text []byte) error {
	var said struct {
		Room, Reason  string
		After, Before streams.ID
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return err
	}
	t := c.trackOf([]byte(said.Room))
	if t == nil {
		return fmt.Errorf("of a room that was not asked for")
	}
	c.gapLocked(t, notice{after: said.After, before: said.Before, reason: said.Reason})
	return nil
}

// component returns the part for partition p of a cursor over several partitions.
func (c *client) component(cursor []byte, p streams.Partition) (streams.ID, error) {
	for len(cursor) > streams.IDLen {
		if cursor[streams.IDLen] != '.' {
			break
		}
		id, err := parseID(cursor[:streams.IDLen])
		if err != nil || id.Partition() == p {
			return id, err
		}
		cursor = cursor[streams.IDLen+1:]
	}
	id, err := parseID(cursor)
	if err == nil && id.Partition() != p {
		err = fmt.Errorf("the cursor does not speak of partition %d", p)
	}
	return id, err
}

func parseID(text []byte) (id streams.ID, err error) {
	return id, id.UnmarshalText(text)
}

func (c *client) trackOf(name []byte) *track {
	for _, t := range c.tracks {
		if string(name) == string(t.room.name) {
			return t
		}
	}
	return nil
}

// unwrap parses {"room":"…","data":…}. For speed it relies on the order in which a node
// writes the members.
func unwrap(text []byte) (room, data []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"room":"`))
	if !ok {
		return nil, nil, false
	}
	room, rest, ok = bytes.Cut(rest, []byte(`","data":`))
	if !ok {
		return nil, nil, false
	}
	data, ok = bytes.CutSuffix(rest, []byte("}"))
	return room, data, ok
}
