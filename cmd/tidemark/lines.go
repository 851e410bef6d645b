package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// maxBatch and maxBatchBytes bound a batch: well below what a server takes
	// (1,000 events, 8 MiB), and a few of them each second still fill a line.
	maxBatch      = 500
	maxBatchBytes = 1 << 20

	// maxInput bounds a line of input, in bytes.
	maxInput = 4 << 20

	// progressEvery is how often the progress line changes: as fast as one reads.
	progressEvery = 100 * time.Millisecond
)

// errLines reports that the events of some lines were not stored. Each was told.
var errLines = errors.New("not all lines were published")

// publishLines publishes each line of standard input, in order.
func publishLines(ctx context.Context, p *publisher, std stdio) error {
	if isTerminal(std.in) {
		fmt.Fprintln(std.err, "tidemark: each line is an event; Ctrl-D ends")
	}
	in := newLineReader(std.in)
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
			return fmt.Errorf("%s: %w", where(unsettled(batch)), err)
		case errors.Is(readErr, io.EOF):
			return out.verdict()
		case readErr != nil:
			return readErr
		}
	}
}

// where names lines of which it is not known whether they are stored.
func where(lines []*line) string {
	first, last := lines[0].number, lines[len(lines)-1].number
	if first == last {
		return fmt.Sprintf("line %d", first)
	}
	return fmt.Sprintf("%s of lines %d to %d", plural(len(lines), "event"), first, last)
}

// A lineReader reads lines in batches: what is there is sent, however little.
type lineReader struct {
	in     *bufio.Reader
	number int // of the last line read
}

func newLineReader(in io.Reader) *lineReader {
	return &lineReader{in: bufio.NewReaderSize(in, maxBatchBytes)}
}

// batch waits for a line and returns it with those that can be had without
// waiting. The error, io.EOF at the end, comes with the lines before it.
func (r *lineReader) batch(p *publisher) (lines []*line, err error) {
	for size := 0; len(lines) < maxBatch && size < maxBatchBytes; {
		if len(lines) > 0 && !r.ready() {
			break
		}
		text, err := r.next()
		if len(text) > 0 {
			lines = append(lines, p.line(r.number, text))
			size += len(text)
		}
		if err != nil {
			return lines, err
		}
	}
	return lines, nil
}

// ready reports whether the next line, or some of it, has been read already.
func (r *lineReader) ready() bool {
	waiting, _ := r.in.Peek(r.in.Buffered()) // never more than is there
	return bytes.IndexByte(waiting, '\n') >= 0
}

// next returns the next line without the space around it, which may be nothing.
func (r *lineReader) next() ([]byte, error) {
	r.number++
	var text []byte
	for {
		part, err := r.in.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case len(text) > maxInput:
			return nil, fmt.Errorf("line %d is longer than %d bytes", r.number, maxInput)
		case errors.Is(err, bufio.ErrBufferFull): // the line goes on
		default:
			return bytes.TrimSpace(text), err
		}
	}
}

// A report tells what became of the lines.
type report struct {
	std    stdio
	room   string
	live   bool // a progress line on a terminal, in place of the ids
	start  time.Time
	shown  time.Time // when the progress line last changed
	stored int
	failed int
}

func newReport(std stdio, room string) *report {
	return &report{std: std, room: room, live: isTerminal(std.out) && isTerminal(std.err), start: time.Now()}
}

// add tells of the lines of a batch that are stored, and of those that can't be.
func (r *report) add(batch []*line) error {
	for _, l := range batch {
		switch {
		case l.id != "":
			r.stored++
			if !r.live {
				if _, err := fmt.Fprintln(r.std.out, l.id); err != nil {
					return err
				}
			}
		case l.err != nil && !temporary(l.err):
			r.failed++
			r.clear()
			fmt.Fprintf(r.std.err, "tidemark: line %d: %v\n", l.number, l.err)
		}
	}
	if r.live && time.Since(r.shown) >= progressEvery {
		r.shown = time.Now()
		r.clear()
		fmt.Fprint(r.std.err, r.summary())
	}
	return nil
}

// summary says how far it has come: "12 events published into lobby, 340/s".
func (r *report) summary() string {
	rate := float64(r.stored) / max(time.Since(r.start).Seconds(), 0.001)
	return fmt.Sprintf("%s published into %s, %.0f/s", plural(r.stored, "event"), r.room, rate)
}

// clear takes the progress line away.
func (r *report) clear() {
	if r.live {
		fmt.Fprint(r.std.err, "\r\x1b[K")
	}
}

// end leaves the last word on the terminal.
func (r *report) end() {
	if r.live {
		r.clear()
		fmt.Fprintln(r.std.err, r.summary())
	}
}

func (r *report) verdict() error {
	if r.failed > 0 {
		return fmt.Errorf("%w: %d failed", errLines, r.failed)
	}
	return nil
}
