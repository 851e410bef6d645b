package load

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
)

// A reply is a generator process's answer to a command.
type reply struct {
	Report Report
	Error  string `json:",omitempty"`
}

// Serve executes the commands in r, one JSON value each, and writes one reply per
// command to w. It returns when r ends.
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
