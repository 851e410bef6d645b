package main

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a line of an event stream, in bytes: the largest event that a
// server may be configured for, with room to spare.
const maxLine = 64 << 20

// A block is what stands between two empty lines of an event stream.
type block struct {
	event string // "" means message
	data  string
	id    string
	hasID bool // an empty id is one too
	retry time.Duration
}

// A blockReader reads an event stream block by block.
//
// The libraries at hand also give out a block that the end of the stream cuts
// short, with its id: an event of which only half has come would then count as
// seen, and the resume would leave it out.
type blockReader struct{ lines *bufio.Scanner }

func newBlockReader(r io.Reader) *blockReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	return &blockReader{lines}
}

// wholeLines is a bufio.SplitFunc for lines that end in LF or CR LF. What the end
// of the stream cuts short is no line.
func wholeLines(data []byte, _ bool) (advance int, line []byte, err error) {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		return 0, nil, nil
	}
	return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
}

// next returns the next whole block. At the end of the stream the error is
// io.EOF, whether or not a block was begun.
func (r *blockReader) next() (block, error) {
	var b block
	var data []string
	for r.lines.Scan() {
		line := r.lines.Bytes()
		if len(line) == 0 {
			b.data = strings.Join(data, "\n")
			return b, nil
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) {
		case "event":
			b.event = string(value)
		case "data":
			data = append(data, string(value))
		case "id":
			b.id, b.hasID = string(value), true
		case "retry":
			b.retry = parseRetry(string(value))
		}
	}
	if err := r.lines.Err(); err != nil {
		return block{}, err
	}
	return block{}, io.EOF
}

// parseRetry returns how long to wait before coming back; 0 for what is no number.
func parseRetry(s string) time.Duration {
	ms, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
