package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// An event as the REST interface and --json write it.
type event struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
	Time time.Time       `json:"time"`
}

// A gap says that events may be missing. As line of --json it stands alone in
// its place: {"gap":{…}}.
type gap struct {
	Room   string `json:"room"`
	After  string `json:"after"`
	Before string `json:"before"`
	Reason string `json:"reason"`
}

// A printer writes events, one on a line, for people or for programs.
type printer struct {
	out    io.Writer
	json   bool
	colour bool
}

func newPrinter(std stdio, asJSON bool) *printer {
	return &printer{out: std.out, json: asJSON, colour: colourful(std.out)}
}

func (p *printer) event(e event) error {
	if p.json {
		return p.line(e)
	}
	kind := ""
	if e.Type != streams.DefaultType {
		kind = e.Type + " "
	}
	stamp := p.paint("2", e.Time.Local().Format("2006-01-02 15:04:05.000")+" "+e.ID)
	_, err := fmt.Fprintf(p.out, "%s %s%s\n", stamp, p.paint("36", kind), e.Data)
	return err
}

func (p *printer) gap(g gap) error {
	if p.json {
		return p.line(map[string]gap{"gap": g})
	}
	text := fmt.Sprintf("--- events may be missing here (%s): after %s, before %s ---", g.Reason, g.After, g.Before)
	_, err := fmt.Fprintln(p.out, p.paint("33", text))
	return err
}

func (p *printer) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.out.Write(append(b, '\n'))
	return err
}

// paint puts s into an ANSI colour where the output is a terminal.
func (p *printer) paint(code, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
