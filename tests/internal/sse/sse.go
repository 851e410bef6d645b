// Package sse reads event streams (text/event-stream) for all tests.
//
// Parse is strict: a field that Tidemark does not send is an error. A test must notice
// a malformed block, where a browser would ignore it.
package sse

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"
)

// A Block is one block of a stream.
type Block struct {
	Event, ID, Data string
	Retry           time.Duration
	Text            string // the block as sent, without its empty line
}

// A Reader reads the blocks of one stream.
type Reader struct{ in *bufio.Reader }

// bufferSize suits ten thousand readers in one process: most blocks are shorter.
const bufferSize = 2 << 10

// NewReader returns a Reader of the blocks in body.
func NewReader(body io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(body, bufferSize)}
}

// Next returns the next complete block. A block that the stream's end cuts off is
// discarded.
func (r *Reader) Next() (Block, error) {
	var text strings.Builder
	for {
		line, err := r.in.ReadString('\n')
		if err != nil {
			return Block{}, err
		}
		if line == "\n" {
			return newBlock(text.String())
		}
		text.WriteString(line)
	}
}

func newBlock(text string) (Block, error) {
	text = strings.TrimSuffix(text, "\n")
	raw, err := Parse([]byte(text))
	if err != nil {
		return Block{}, err
	}
	b := Block{Event: string(raw.Event), ID: string(raw.ID), Data: string(raw.Data), Text: text}
	if raw.Retry != nil {
		if b.Retry, err = time.ParseDuration(string(raw.Retry) + "ms"); err != nil {
			return b, fmt.Errorf("block %q: %w", text, err)
		}
	}
	return b, nil
}

// A Raw is a block whose fields point into the text that was parsed. A field that the
// block does not have is nil.
type Raw struct{ Event, ID, Data, Retry []byte }

// Cut splits the first complete block, without its empty line, off text. It returns
// false if text has no complete block.
func Cut(text []byte) (block, rest []byte, complete bool) {
	return bytes.Cut(text, []byte("\n\n"))
}

// Parse parses one block. It allocates only for a block with several data lines.
func Parse(text []byte) (b Raw, err error) {
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "data":
			if b.Data != nil {
				value = bytes.Join([][]byte{b.Data, value}, []byte("\n"))
			}
			b.Data = value
		case "id":
			b.ID = value
		case "event":
			b.Event = value
		case "retry":
			b.Retry = value
		case "": // a comment
		default:
			return b, fmt.Errorf("unexpected line %q", line)
		}
	}
	return b, nil
}
