package prose

import (
	"fmt"
	"go/ast"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
)

// Names of the code use the terms of GLOSSARY.md, not the metaphors that they replace.
func TestNames(t *testing.T) {
	fset, all := parse(t)
	for _, file := range all {
		name := fset.Position(file.Package).Filename
		where, err := filepath.Rel(root, name)
		if err != nil {
			where = name
		}
		if problem := wrongName(strings.TrimSuffix(filepath.Base(name), ".go")); problem != "" {
			t.Errorf("%s: the file's name has %s", where, problem)
		}
		for _, declared := range declarations(file) {
			if problem := wrongName(declared.Name); problem != "" {
				t.Errorf("%s:%d: %s has %s", where, fset.Position(declared.Pos()).Line, declared.Name, problem)
			}
		}
	}
}

// declarations returns the names that a file declares: package, functions, types,
// variables, constants, fields, parameters and labels.
func declarations(file *ast.File) (names []*ast.Ident) {
	names = append(names, file.Name)
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			names = append(names, n.Name)
		case *ast.TypeSpec:
			names = append(names, n.Name)
		case *ast.ValueSpec:
			names = append(names, n.Names...)
		case *ast.Field:
			names = append(names, n.Names...)
		case *ast.LabeledStmt:
			names = append(names, n.Label)
		case *ast.AssignStmt:
			if n.Tok == token.DEFINE {
				names = appendIdents(names, n.Lhs...)
			}
		case *ast.RangeStmt:
			if n.Tok == token.DEFINE {
				names = appendIdents(names, n.Key, n.Value)
			}
		}
		return true
	})
	return names
}

func appendIdents(names []*ast.Ident, expressions ...ast.Expr) []*ast.Ident {
	for _, e := range expressions {
		if ident, ok := e.(*ast.Ident); ok {
			names = append(names, ident)
		}
	}
	return names
}

// wrongName says which metaphor a name has, or "".
func wrongName(name string) string {
	words := split(name)
	for i, word := range words {
		if term, ok := metaphors[word]; ok {
			return fmt.Sprintf("%q: use the term %q", word, term)
		}
		if i == 0 {
			continue
		}
		pair := words[i-1] + " " + word
		if term, ok := pairs[pair]; ok {
			return fmt.Sprintf("%q: use the term %q", pair, term)
		}
	}
	return ""
}

// split returns the words of a name such as openSeats, HTTPServer or load_linux_test,
// in lower case.
func split(name string) (words []string) {
	runes := []rune(name)
	start := 0
	end := func(i int) {
		if i > start {
			words = append(words, strings.ToLower(string(runes[start:i])))
		}
		start = i
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r):
			end(i)
			start = i + 1
		case unicode.IsUpper(r) && i > 0 && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			end(i)
		}
	}
	end(len(runes))
	return words
}
