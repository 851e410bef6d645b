package cli

import (
	"encoding/json"
	"io"
)

// A Printer writes results, either as text for people or as JSON for programs.
type Printer struct {
	Out  io.Writer
	JSON bool

	color bool
}

// NewPrinter returns a printer to standard output. It uses colors only on a terminal.
func NewPrinter(std Stdio, asJSON bool) *Printer {
	return &Printer{Out: std.Out, JSON: asJSON, color: UsesColor(std.Out)}
}

// Object writes v as one line of JSON.
func (p *Printer) Object(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = p.Out.Write(append(b, '\n'))
	return err
}

// Paint returns text in a color, given as an ANSI code, if the output shows colors.
func (p *Printer) Paint(code, text string) string {
	if !p.color || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
