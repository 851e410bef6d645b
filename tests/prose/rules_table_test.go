package prose

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

const example = `package p

// Send waits until somebody reads. It then
// returns, for the
// queue is empty.
//
//	whatever is code
func Send() {} // whatever comes
`

func TestFindNamesLineAndSentence(t *testing.T) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, "p.go", example, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	found, words := find(comments(fset, file))
	want := []string{
		`p.go:3: "somebody" in: Send waits until somebody reads.`,
		`p.go:4: ", for the" in: It then returns, for the queue is empty.`,
		`p.go:8: "whatever" in: whatever comes`,
	}
	if !slices.EqualFunc(found, want, strings.HasSuffix) {
		t.Errorf("found:\n%s\nwant:\n%s", strings.Join(found, "\n"), strings.Join(want, "\n"))
	}
	if words != 15 {
		t.Errorf("%d words, want 15", words)
	}
}

func TestWrongSubject(t *testing.T) {
	for line, wrong := range map[string]bool{
		"api: close a stream when its token expires":           false,
		"access, cmd/tidemark: accept several secrets":         false,
		"go.mod: update pebble":                                false,
		`Revert "api: close a stream"`:                         false,
		"close a stream":                                       true,
		"api: close a stream.":                                 true,
		"api: tell somebody":                                   true,
		"api: " + strings.Repeat("x", maxSubject-len("api: ")): false,
		"api: " + strings.Repeat("x", maxSubject):              true,
	} {
		if problem := wrongSubject(line); (problem != "") != wrong {
			t.Errorf("%q: problem %q, want one: %v", line, problem, wrong)
		}
	}
}

func TestWrongName(t *testing.T) {
	for name, wrong := range map[string]bool{
		"openSeats":       true,
		"crew_test":       true,
		"newLeg":          true,
		"sendAway":        true,
		"HTTPFarewell":    true,
		"desk2":           true,
		"namespace":       false, // has "pace"
		"delegate":        false,
		"NewMigration":    false, // has "ration"
		"sendBatch":       false,
		"connectionSlots": false,
	} {
		if problem := wrongName(name); (problem != "") != wrong {
			t.Errorf("%s: problem %q, want one: %v", name, problem, wrong)
		}
	}
}

func TestSplit(t *testing.T) {
	for name, want := range map[string]string{
		"openSeats":       "open seats",
		"HTTPServer":      "http server",
		"serveHTTP":       "serve http",
		"load_linux_test": "load linux test",
		"http2Conn":       "http conn",
		"x":               "x",
	} {
		if got := strings.Join(split(name), " "); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
