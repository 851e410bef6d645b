package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
)

// A reply is what a generator process answers to a command.
type reply struct {
	Report Report
	Error  string `json:",omitempty"`
}

// Serve does the commands that r brings, one JSON value each, and writes a reply for
// each to w, until r ends.
func Serve(r io.Reader, w io.Writer) (err error) {
	g, err := New()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.Close()) }()
	in, out := json.NewDecoder(bufio.NewReader(r)), json.NewEncoder(w)
	for {
		var c Command
		if err := in.Decode(&c); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		report, err := g.Do(c)
		answer := reply{Report: report}
		if err != nil {
			answer.Error = err.Error()
		}
		if err := out.Encode(answer); err != nil {
			return err
		}
	}
}
