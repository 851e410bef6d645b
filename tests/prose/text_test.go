package prose

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// root is the directory of the repository.
const root = "../.."

// A paragraph is running text: lines that belong together, joined by spaces.
type paragraph struct {
	file   string
	text   string
	starts []int // offset in text of each line
	lines  []int // number in the file of each line
}

// add appends a line of the file.
func (p *paragraph) add(number int, line string) {
	if p.text != "" {
		p.text += " "
	}
	p.starts = append(p.starts, len(p.text))
	p.lines = append(p.lines, number)
	p.text += strings.TrimSpace(line)
}

// line is the number of the line that has the offset.
func (p *paragraph) line(offset int) int {
	number := 0
	for i, start := range p.starts {
		if start <= offset {
			number = p.lines[i]
		}
	}
	return number
}

// sentence is the sentence around the offset.
func (p *paragraph) sentence(offset int) string {
	from, to := 0, len(p.text)
	for i := 0; i+1 < len(p.text); i++ {
		if !strings.ContainsRune(".!?", rune(p.text[i])) || p.text[i+1] != ' ' {
			continue
		}
		if i < offset {
			from = i + 2
		} else {
			to = i + 1
			break
		}
	}
	return p.text[from:to]
}

// words counts the words of the paragraph.
func (p *paragraph) words() int {
	return len(strings.FieldsFunc(p.text, func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' }))
}

// files returns the files of the repository with the extension. Directories of other
// people's code, of test data and of build results are left out.
func files(t *testing.T, extension string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !entry.IsDir() {
			if filepath.Ext(name) == extension {
				names = append(names, name)
			}
			return nil
		}
		switch base := entry.Name(); {
		case base == "node_modules", base == "testdata", base == "vendor", base == "bin",
			strings.HasPrefix(base, ".") && name != root && base != ".github":
			return filepath.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// parse reads all Go files of the repository that a person wrote.
func parse(t *testing.T) (*token.FileSet, []*ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	var all []*ast.File
	for _, name := range files(t, ".go") {
		file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if !ast.IsGenerated(file) {
			all = append(all, file)
		}
	}
	return fset, all
}

// comments returns the comments of a file. An empty line ends a paragraph; indented
// lines are code.
func comments(fset *token.FileSet, file *ast.File) (all []paragraph) {
	for _, group := range file.Comments {
		for _, comment := range group.List {
			at := fset.Position(comment.Pos())
			if text, ok := strings.CutPrefix(comment.Text, "//"); ok {
				all = appendLine(all, at.Filename, at.Line, text)
				continue
			}
			text := strings.TrimSuffix(strings.TrimPrefix(comment.Text, "/*"), "*/")
			for i, line := range strings.Split(text, "\n") {
				all = appendLine(all, at.Filename, at.Line+i, line)
			}
		}
		all = append(all, paragraph{})
	}
	return all
}

// appendLine adds a line of a comment to the last paragraph, or starts a new one.
func appendLine(all []paragraph, file string, number int, line string) []paragraph {
	switch {
	case strings.TrimSpace(line) == "", strings.HasPrefix(line, "\t"):
		return append(all, paragraph{})
	case strings.HasPrefix(line, "go:"), strings.HasPrefix(line, "nolint"):
		return all
	}
	if len(all) == 0 {
		all = append(all, paragraph{})
	}
	last := &all[len(all)-1]
	last.file = file
	last.add(number, line)
	return all
}

// markdown returns the running text of a page: no code, no quotations.
func markdown(t *testing.T, name string) (all []paragraph) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	fenced := false
	current := paragraph{file: name}
	end := func() {
		if current.text != "" {
			all = append(all, current)
		}
		current = paragraph{file: name}
	}
	for i, line := range strings.Split(string(text), "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			fenced = !fenced
			end()
		case fenced, strings.HasPrefix(line, "    "), strings.HasPrefix(line, "> "):
		case trimmed == "":
			end()
		default:
			if startsBlock(trimmed) {
				end()
			}
			current.add(i+1, line)
		}
	}
	end()
	return all
}

// startsBlock reports whether a line of Markdown begins a heading, a list's entry or a
// table's row.
func startsBlock(line string) bool {
	for _, prefix := range []string{"#", "- ", "* ", "|"} {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	digits := strings.TrimLeft(line, "0123456789")
	return digits != line && strings.HasPrefix(digits, ". ")
}
