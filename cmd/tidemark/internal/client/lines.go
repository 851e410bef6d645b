package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

const (
	// maxBatch and maxBatchBytes bound a batch. They are well below a server's default
	// limits (1,000 events, 8 MiB), and a few such batches per second still use the full
	// bandwidth.
	maxBatch      = 500
	maxBatchBytes = 1 << 20

	// maxInput bounds a line of input, in bytes.
	maxInput = 4 << 20
)

// publishLines publishes each line of standard input, in order.
func publishLines(ctx context.Context, p *publisher, std cli.Stdio) error {
	if cli.IsTerminal(std.In) {
		fmt.Fprintln(std.Err, "tidemark: each line is one event; press Ctrl-D to end")
	}
	in := newLineReader(std.In)
	out := newReport(std, p.room)
	defer out.end()
	for {
		batch, readErr := in.batch(p)
		err := p.publishBatch(ctx, batch)
		if reportErr := out.add(batch); reportErr != nil {
			return reportErr
		}
		switch {
		case err != nil:
			return fmt.Errorf("%s: %w", describe(pending(batch)), err)
		case errors.Is(readErr, io.EOF):
			return out.result()
		case readErr != nil:
			return readErr
		}
	}
}

// describe names the lines of events that may or may not be stored.
func describe(events []*batchEvent) string {
	first, last := events[0].line, events[len(events)-1].line
	if first == last {
		return fmt.Sprintf("line %d", first)
	}
	return fmt.Sprintf("%s of lines %d to %d", cli.Plural(len(events), "event"), first, last)
}

// A lineReader reads lines in batches. It never delays a line to fill a batch.
type lineReader struct {
	in     *bufio.Reader
	number int // of the last line read
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, maxBatchBytes)}
}

// batch waits for one line and returns it with the lines that are already in the buffer. It
// returns an error, io.EOF at the end, together with the lines before it.
func (r *lineReader) batch(p *publisher) (events []*batchEvent, err error) {
	for size := 0; len(events) < maxBatch && size < maxBatchBytes; {
		if len(events) > 0 && !r.buffered() {
			break
		}
		text, err := r.next()
		if len(text) > 0 {
			events = append(events, p.fromLine(r.number, text))
			size += len(text)
		}
		if err != nil {
			return events, err
		}
	}
	return events, nil
}

// buffered reports whether the buffer holds a complete line.
func (r *lineReader) buffered() bool {
	waiting, _ := r.in.Peek(r.in.Buffered()) // can't fail: it asks only for buffered bytes
	return bytes.IndexByte(waiting, '\n') >= 0
}

// next returns the next line without surrounding space. It may be empty.
func (r *lineReader) next() ([]byte, error) {
	r.number++
	var text []byte
	for {
		part, err := r.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxInput:
			return nil, fmt.Errorf("line %d is longer than %d bytes: shorten it", r.number, maxInput)
		case errors.Is(err, bufio.ErrBufferFull): // the line continues
		default:
			return bytes.TrimSpace(text), err
		}
	}
}
