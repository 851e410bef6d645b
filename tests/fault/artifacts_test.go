package fault_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// maxSuspects bounds the number of clients whose journals are kept after a failed run.
const maxSuspects = 20

// keepArtifacts writes files that explain a failed run, and logs their directory.
func (w *system) keepArtifacts() {
	if !w.t.Failed() {
		return
	}
	dir := *keepIn
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "tidemark-fault-"); err != nil {
			w.t.Error(err)
			return
		}
	}
	dir = filepath.Join(dir, strings.ReplaceAll(w.t.Name(), "/", "-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Error(err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep(dir, "timeline.log", fmt.Sprintf("seed %d\n", w.seed)+strings.Join(w.timeline, "\n")+"\n")
	for _, n := range w.nodes {
		w.keep(dir, n.name+".log", n.log())
	}
	w.keep(dir, "nginx.log", w.edge.log.String())
	kept := 0
	for c, what := range w.flagged {
		if kept++; kept > maxSuspects {
			break
		}
		c.mu.Lock()
		w.keep(dir, "client-"+c.name+".log", what+"\n"+strings.Join(c.journal, "\n")+"\n")
		c.mu.Unlock()
	}
	w.t.Logf("seed %d; timeline, logs of the nodes and journals of %d of %d clients with errors: %s",
		w.seed, min(kept, maxSuspects), len(w.flagged), dir)
}

func (w *system) keep(dir, name, text string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		w.t.Error(err)
	}
}
