package report

import (
	"errors"
	"io"
	"os"

	"github.com/tidemark/tidemark/bench/result"
)

// Save writes the run for the terminal to w, as JSON and Markdown to base.json and
// base.md, and draws the plots into the directory plots, or none if that is empty.
func Save(w io.Writer, r *result.Run, base, plots string) error {
	err := errors.Join(Terminal(w, r), r.Write(base+".json"), saveMarkdown(base+".md", r))
	if plots != "" {
		_, drawn := Plots(plots, r)
		err = errors.Join(err, drawn)
	}
	return err
}

func saveMarkdown(path string, r *result.Run) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(Markdown(file, r), file.Close())
}
