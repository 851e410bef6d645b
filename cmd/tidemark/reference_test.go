package main

import (
	"os"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// docs/configuration.md is up to date.
func TestReferenceIsCurrent(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if got := tidemark.Must(t, program.Options{}, "config", "reference"); got != string(page) {
		t.Error("docs/configuration.md differs from the flags. Regenerate it: go generate ./cmd/tidemark")
	}
}

// Each setting has a variable, a key, a kind of value and a description.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	rows := map[string]bool{}
	for line := range strings.Lines(tidemark.Must(t, program.Options{}, "config", "reference")) {
		if !strings.HasPrefix(line, "| `--") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, ""), "|")
		if len(cells) != 8 {
			t.Errorf("%d cells: %s", len(cells), line)
			continue
		}
		if strings.HasSuffix(cells[1], " ` ") {
			t.Errorf("no placeholder: %s", line)
		}
		name := strings.Trim(cells[3], " `")
		rows[name] = true
		if want := "`TIDEMARK_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")) + "`"; strings.TrimSpace(cells[2]) != want {
			t.Errorf("the variable of %s is%s, want %s", name, cells[2], want)
		}
		if strings.TrimSpace(cells[4]) == "" || strings.TrimSpace(cells[6]) == "" {
			t.Errorf("%s has no kind of value or no description: %s", name, line)
		}
	}
	for _, name := range []string{"listen", "retain", "redis", "auth-key", "log-level", "url", "token"} {
		if !rows[name] {
			t.Errorf("no row for %s", name)
		}
	}
}
