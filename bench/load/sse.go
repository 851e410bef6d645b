package load

import (
	"bytes"
	"fmt"
)

// sse speaks Server-Sent Events.
type sse struct{}

func (sse) request(b []byte, c *client) []byte {
	b = append(b, "Accept: text/event-stream\r\n"...)
	if len(c.cursor) > 0 {
		b = append(append(append(b, "Last-Event-ID: "...), c.cursor...), "\r\n"...)
	}
	return b
}

func (sse) status() int { return 200 }

func (sse) accepted(*client) error { return nil }

// read consumes complete blocks.
func (s sse) read(c *client, b []byte) (used int, err error) {
	for {
		n, block := readBlock(b[used:])
		if n == 0 {
			return used, nil
		}
		used += n
		if err := s.block(c, block); err != nil {
			return used, err
		}
	}
}

func (sse) block(c *client, b block) error {
	switch {
	case b.event == nil && b.data != nil:
		return c.event(b.data, b.id)
	case bytes.Equal(b.event, []byte("tidemark.gap")):
		c.g.report.Gaps++
	case bytes.Equal(b.event, []byte("tidemark.error")):
		return fmt.Errorf("the server reported an error: %.200s", b.data)
	}
	c.setCursor(b.id)
	c.markFollowing()
	return nil
}

// A block holds the fields of an SSE block that the client needs. A missing field is
// nil.
type block struct{ event, data, id []byte }

// readBlock parses the block at the start of b and returns its size, or 0 if the block
// is incomplete.
func readBlock(b []byte) (size int, out block) {
	for {
		end := bytes.IndexByte(b[size:], '\n')
		if end < 0 {
			return 0, block{}
		}
		line := b[size : size+end]
		size += end + 1
		if len(line) > 0 && line[len(line)-1] == '\r' {
			line = line[:len(line)-1]
		}
		if len(line) == 0 {
			return size, out
		}
		switch line[0] {
		case 'd':
			out.data = value(line, "data:", out.data)
		case 'i':
			out.id = value(line, "id:", out.id)
		case 'e':
			out.event = value(line, "event:", out.event)
		}
	}
}

// value returns the value of a line with the given field name, or current if the line
// has another name.
func value(line []byte, name string, known []byte) []byte {
	if len(line) < len(name) || string(line[:len(name)]) != name {
		return known
	}
	line = line[len(name):]
	if len(line) > 0 && line[0] == ' ' {
		line = line[1:]
	}
	return line
}
