package fault_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tidemark/tidemark/tests/program"
)

// addSkewed starts a node whose clock is 5 s ahead of the machine's, and adds it to nginx.
// No library can intercept the clock of a Go program, so the node is built with a modified
// package time. The first build takes some minutes.
func (w *system) addSkewed(name string) {
	w.t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		w.t.Fatal(err)
	}
	source := filepath.Join(strings.TrimSpace(string(out)), "src", "time", "time.go")
	text, err := os.ReadFile(source)
	if err != nil {
		w.t.Fatal(err)
	}
	const reading = "\tsec, nsec, mono := runtimeNow()\n"
	if strings.Count(string(text), reading) != 1 {
		w.t.Fatalf("%s reads the clock in another way than this test knows", source)
	}
	dir := w.t.TempDir()
	skewed, overlay := filepath.Join(dir, "time.go"), filepath.Join(dir, "overlay.json")
	table, err := json.Marshal(map[string]any{"Replace": map[string]string{source: skewed}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(skewed, strings.Replace(string(text), reading, reading+"\tsec += 5\n", 1))
	w.write(overlay, string(table))
	p, remove, err := program.Build("-overlay=" + overlay)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(remove)
	w.addNodeOf(p, name, w.flags)
	w.edge.configure(w.nodes)
	w.edge.reload()
}

func (w *system) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}
