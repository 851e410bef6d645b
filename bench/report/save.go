package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/tidemark/tidemark/bench/result"
)

// linked is where the plots lie as seen from the page that has the table.
const linked = "plots"

// Save writes the run for the terminal to w, as JSON and Markdown to base.json and
// base.md, and draws the plots into the directory plots, or none if that is empty.
func Save(w io.Writer, r *result.Run, base, plots string) error {
	err := errors.Join(Terminal(w, r), r.Write(base+".json"))
	var drawn []Plot
	if plots != "" {
		var failed error
		drawn, failed = Plots(plots, r)
		err = errors.Join(err, failed)
	}
	return errors.Join(err, saveMarkdown(base+".md", r, drawn))
}

// saveMarkdown writes the table and links to the plots below it.
func saveMarkdown(name string, r *result.Run, plots []Plot) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	err = Markdown(file, r)
	for _, p := range plots {
		_, failed := fmt.Fprintf(file, "![%s](%s)\n\n", p.Title, path.Join(linked, p.File))
		err = errors.Join(err, failed)
	}
	return errors.Join(err, file.Close())
}
