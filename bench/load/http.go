package load

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	errHeader = errors.New("not an HTTP header")
	errChunk  = errors.New("not a chunked body")
)

// A header is what matters of an answer's header.
type header struct {
	size    int // of the header
	status  int
	length  int // of the body; -1 where it is not given
	chunked bool
}

// readHeader reads an answer's header; ok is false where b does not have all of it.
func readHeader(b []byte) (h header, ok bool, err error) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) > 16<<10 {
			return h, false, errHeader
		}
		return h, false, nil
	}
	h = header{size: end + 4, length: -1}
	line, rest, _ := bytes.Cut(b[:end], []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return h, false, fmt.Errorf("%w: %.40q", errHeader, line)
	}
	status, fine := digits(line[9:12])
	if !fine {
		return h, false, fmt.Errorf("%w: %.40q", errHeader, line)
	}
	h.status = int(status)
	return h, true, h.fields(rest)
}

func (h *header) fields(b []byte) error {
	for len(b) > 0 {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			n, ok := digits(value)
			if !ok || len(value) > 9 {
				return fmt.Errorf("%w: Content-Length %.40q", errHeader, value)
			}
			h.length = int(n)
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			h.chunked = bytes.EqualFold(value, []byte("chunked"))
		}
	}
	return nil
}

// wholeBody is the body that b begins with, and how much of b it takes; less than 0
// where b does not have all of it. A chunked one is decoded within b.
func wholeBody(h header, b []byte) (body []byte, size int, err error) {
	switch {
	case h.chunked:
		return wholeChunked(b)
	case h.status == 204:
		return nil, 0, nil
	case h.length < 0:
		return nil, -1, fmt.Errorf("%w: no Content-Length", errHeader)
	case h.length > maxMessage:
		return nil, -1, errLong
	case len(b) < h.length:
		return nil, -1, nil
	}
	return b[:h.length], h.length, nil
}

// lastChunk ends a chunked body without trailers.
var lastChunk = []byte("\r\n0\r\n\r\n")

// wholeChunked looks for the end first, for what is decoded can't be read again.
// JSON as the servers write it has no line breaks that could look like it.
func wholeChunked(b []byte) (body []byte, size int, err error) {
	end := bytes.Index(b, lastChunk)
	if end < 0 {
		return nil, -1, nil
	}
	size = end + len(lastChunk)
	n, err := new(chunker).decode(b[:size])
	return b[:n], size, err
}

// A chunker takes the framing off a chunked body.
type chunker struct {
	state chunkState
	left  int // of the chunk's data; while its size is read, that size so far
}

type chunkState uint8

const (
	chunkSize      chunkState = iota
	chunkExtension            // up to the end of the line
	chunkData
	chunkEnd // the line's end after the data
	chunkLast
)

// decode moves the data in b to its front and returns how much it is. What of the
// framing is cut off goes on with the next b.
func (c *chunker) decode(b []byte) (data int, err error) {
	for i := 0; i < len(b); {
		if c.state == chunkData {
			n := min(c.left, len(b)-i)
			if data != i {
				copy(b[data:], b[i:i+n])
			}
			data, i, c.left = data+n, i+n, c.left-n
			if c.left == 0 {
				c.state = chunkEnd
			}
			continue
		}
		if err := c.framing(b[i]); err != nil {
			return data, err
		}
		i++
	}
	return data, nil
}

// framing takes one byte outside of the data.
func (c *chunker) framing(d byte) error {
	switch {
	case c.state == chunkLast:
		return nil // trailers, and the end
	case c.state == chunkEnd && (d == '\r' || d == '\n'):
		if d == '\n' {
			c.state = chunkSize
		}
		return nil
	case c.state == chunkEnd:
		return fmt.Errorf("%w: %q after a chunk", errChunk, d)
	case d == '\n':
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkLast
		}
		return nil
	case c.state == chunkExtension:
		return nil
	case d == ';' || d == '\r' || d == ' ':
		c.state = chunkExtension
		return nil
	}
	v := hex(d)
	if v < 0 || c.left > 1<<26 {
		return fmt.Errorf("%w: %q in a chunk's size", errChunk, d)
	}
	c.left = c.left<<4 | v
	return nil
}

func hex(d byte) int {
	switch {
	case '0' <= d && d <= '9':
		return int(d - '0')
	case 'a' <= d && d <= 'f':
		return int(d-'a') + 10
	case 'A' <= d && d <= 'F':
		return int(d-'A') + 10
	}
	return -1
}
