package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// stdio is what a command reads and writes. Results go to out, all that is said
// about them to err.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// isTerminal reports whether a person sits at the other end of f.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// colourful reports whether f is a terminal whose owner does not mind colours:
// see https://no-color.org.
func colourful(f any) bool { return isTerminal(f) && os.Getenv("NO_COLOR") == "" }
