package load

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	errHeader = errors.New("invalid HTTP response header")
	errChunk  = errors.New("invalid chunked body")
)

// A header holds the parts of a response header that the generator needs.
type header struct {
	size    int // bytes of the header
	status  int
	length  int // bytes of the body; -1 if not given
	chunked bool
}

// readHeader parses a response header. ok is false if b ends before the header does.
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
	status, ok := parseDigits(line[9:12])
	if !ok {
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
			n, ok := parseDigits(value)
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

// completeBody returns the body at the start of b and the bytes it takes. size is
// negative if the body is incomplete. A chunked body is decoded in place.
func completeBody(h header, b []byte) (body []byte, size int, err error) {
	switch {
	case h.chunked:
		return completeChunkedBody(b)
	case h.status == 204:
		return nil, 0, nil
	case h.length < 0:
		return nil, -1, fmt.Errorf("%w: no Content-Length", errHeader)
	case h.length > maxMessage:
		return nil, -1, errTooLong
	case len(b) < h.length:
		return nil, -1, nil
	}
	return b[:h.length], h.length, nil
}

// lastChunk ends a chunked body without trailers.
var lastChunk = []byte("\r\n0\r\n\r\n")

// completeChunkedBody looks for the end before decoding, because decoding overwrites
// the input. The JSON of the measured servers contains no line breaks, so a body never
// contains lastChunk.
func completeChunkedBody(b []byte) (body []byte, size int, err error) {
	end := bytes.Index(b, lastChunk)
	if end < 0 {
		return nil, -1, nil
	}
	size = end + len(lastChunk)
	n, err := new(chunker).decode(b[:size])
	return b[:n], size, err
}

// A chunker removes the framing of a chunked body.
type chunker struct {
	state     chunkState
	remaining int // bytes left in the chunk; while its size is read, the size so far
}

type chunkState uint8

const (
	chunkSize      chunkState = iota
	chunkExtension            // until the end of the line
	chunkData
	chunkEnd // line break after the data
	chunkLast
)

// decode moves the chunk data in b to the front and returns its length. Framing split
// between two calls is handled.
func (c *chunker) decode(b []byte) (data int, err error) {
	for i := 0; i < len(b); {
		if c.state == chunkData {
			n := min(c.remaining, len(b)-i)
			if data != i {
				copy(b[data:], b[i:i+n])
			}
			data, i, c.remaining = data+n, i+n, c.remaining-n
			if c.remaining == 0 {
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

// framing consumes one byte outside the data.
func (c *chunker) framing(d byte) error {
	switch {
	case c.state == chunkLast:
		return nil // trailers and the final line break
	case c.state == chunkEnd && (d == '\r' || d == '\n'):
		if d == '\n' {
			c.state = chunkSize
		}
		return nil
	case c.state == chunkEnd:
		return fmt.Errorf("%w: %q after a chunk", errChunk, d)
	case d == '\n':
		c.state = chunkData
		if c.remaining == 0 {
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
	if v < 0 || c.remaining > 1<<26 {
		return fmt.Errorf("%w: %q in a chunk size", errChunk, d)
	}
	c.remaining = c.remaining<<4 | v
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
