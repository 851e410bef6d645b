package prose

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidemark/tidemark/tests/require"
)

// Go comments have few markers.
func TestComments(t *testing.T) {
	fset, all := parse(t)
	var text []paragraph
	for _, file := range all {
		text = append(text, comments(fset, file)...)
	}
	check(t, text)
}

// Markdown has few markers.
func TestMarkdown(t *testing.T) {
	var text []paragraph
	for _, name := range files(t, ".md") {
		text = append(text, markdown(t, name)...)
	}
	check(t, text)
}

// check fails the test if text has more markers than maxDensity allows, and lists them.
func check(t *testing.T, text []paragraph) {
	t.Helper()
	found, words := find(text)
	density := 1000 * float64(len(found)) / float64(max(words, 1))
	t.Logf("%d markers in %d words: %.1f per 1,000", len(found), words, density)
	if density > maxDensity {
		t.Errorf("want at most %.1f per 1,000 words. Rewrite some of these sentences:\n%s", maxDensity, strings.Join(found, "\n"))
	}
}

// find returns each marker with its place and its sentence, and counts all words.
func find(text []paragraph) (found []string, words int) {
	for _, p := range text {
		words += p.words()
		for _, at := range markers.FindAllStringIndex(p.text, -1) {
			name, err := filepath.Rel(root, p.file)
			if err != nil {
				name = p.file
			}
			found = append(found, fmt.Sprintf("%s:%d: %q in: %s",
				name, p.line(at[0]), p.text[at[0]:at[1]], p.sentence(at[0])))
		}
	}
	return found, words
}

// The newest commit's subject has the project's form.
func TestCommitSubject(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Log("a copy of the files without git has no commit")
		return
	}
	// The checkout may belong to another user, for example in a container.
	out, err := exec.Command(require.Program(t, "git"), "-c", "safe.directory=*", "-C", root,
		"log", "-1", "--no-merges", "--format=%s").Output()
	if err != nil {
		t.Fatal(err)
	}
	line := strings.TrimSpace(string(out))
	if problem := wrongSubject(line); problem != "" {
		t.Errorf("the commit's subject %q %s", line, problem)
	}
}

// wrongSubject says what is wrong with a commit's subject, or "".
func wrongSubject(line string) string {
	switch n := utf8.RuneCountInString(line); {
	case n > maxSubject:
		return fmt.Sprintf("has %d characters, want at most %d", n, maxSubject)
	case !subject.MatchString(line):
		return `does not begin with what it changes: "package: imperative change"`
	case strings.HasSuffix(line, "."):
		return "ends with a full stop"
	case markers.MatchString(line):
		return fmt.Sprintf("has the construction %q", markers.FindString(line))
	}
	return ""
}
