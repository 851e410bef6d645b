package client

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a line of an event stream, in bytes. A server's default limit for an
// event's data is 64 KiB, and --max-data can raise it.
const maxLine = 64 << 20

// A block is the fields between two empty lines of an event stream.
type block struct {
	event string // "" means message
	data  string
	id    string
	hasID bool // tells an empty id from no id
	retry time.Duration
}

// A blockReader reads an event stream block by block.
//
// It returns only complete blocks. Existing libraries also return a block that the end of
// the stream cuts short. Its id would count as seen although half of the event is missing,
// and the client would resume after it.
type blockReader struct{ lines *bufio.Scanner }

func newBlockReader(r io.Reader) *blockReader {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	lines.Split(wholeLines)
	return &blockReader{lines}
}

// wholeLines is a bufio.SplitFunc for lines that end in LF or CR LF. It drops an incomplete
// last line.
func wholeLines(data []byte, _ bool) (advance int, line []byte, err error) {
	i := bytes.IndexByte(data, '\n')
	if i < 0 {
		return 0, nil, nil
	}
	return i + 1, bytes.TrimSuffix(data[:i], []byte("\r")), nil
}

// next returns the next complete block. At the end of the stream it returns io.EOF, even if
// the stream ends within a block.
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

// parseRetry parses the delay before a reconnect, in milliseconds. It returns 0 if s is not a
// number.
func parseRetry(s string) time.Duration {
	ms, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(ms) * time.Millisecond
}
