package report

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"github.com/tidemark/tidemark/bench/result"
)

// plotDir is the directory of the plots, relative to the page that contains the table.
const plotDir = "plots"

// Save writes the run as text to w, as JSON to base.json and as Markdown to base.md. It
// draws the plots into the directory plots, or none if plots is empty.
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

// saveMarkdown writes the tables and links to the plots.
func saveMarkdown(name string, r *result.Run, plots []Plot) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	err = Markdown(file, r)
	for _, p := range plots {
		_, failed := fmt.Fprintf(file, "![%s](%s)\n\n", p.Title, path.Join(plotDir, p.File))
		err = errors.Join(err, failed)
	}
	return errors.Join(err, file.Close())
}
