// Package cli holds what all commands of the program share: standard streams, signals,
// usage errors, masking of secrets, and printing for people and for programs.
package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Stdio holds a command's standard streams. Results go to Out; progress, warnings and
// errors go to Err.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// IsTerminal reports whether stream is a terminal.
func IsTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// UsesColor reports whether stream is a terminal and the user has not turned colors off
// with NO_COLOR (https://no-color.org).
func UsesColor(stream any) bool { return IsTerminal(stream) && os.Getenv("NO_COLOR") == "" }
