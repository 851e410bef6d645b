package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api"
)

const protocol = "../docs/protocol.md"

// The examples of docs/protocol.md work, in their order.
func TestProtocolExamples(t *testing.T) {
	h := start(t)
	r := &runner{h: h, t: t, known: make(map[string]string)}
	examples := fences(t)
	for _, f := range examples {
		r.at = fmt.Sprintf("%s:%d", protocol, f.line)
		switch f.kind {
		case "http request":
			r.request(f.text)
		case "http response":
			r.response(f.text)
		case "sse request":
			r.follow(f.text)
		case "sse stream":
			r.stream(f.text)
		case "websocket":
			r.socket(f.text)
		}
	}
	if len(examples) < 20 {
		t.Errorf("only %d examples were found", len(examples))
	}
}

// A fence is a block of code on the page.
type fence struct {
	line       int
	kind, text string
}

func fences(t *testing.T) []fence {
	t.Helper()
	page, err := os.ReadFile(protocol)
	if err != nil {
		t.Fatal(err)
	}
	var all []fence
	var open *fence
	for i, line := range strings.Split(string(page), "\n") {
		kind, mark := strings.CutPrefix(line, "```")
		switch {
		case mark && open == nil:
			open = &fence{line: i + 1, kind: kind}
		case mark:
			all = append(all, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	return all
}

// A runner runs the page's examples. A placeholder gets its value from the first answer in
// which it is expected.
type runner struct {
	h     *harness
	t     *testing.T
	at    string // where in the page
	known map[string]string

	answer answer
	open   *sse
	ws     *wsClient
}

var placeholder = regexp.MustCompile(`<([a-z]+[0-9]*)>`)

// fill replaces the placeholders in text.
func (r *runner) fill(text string) string {
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		v, ok := r.known[p]
		if !ok {
			r.t.Fatalf("%s: %s is not known yet", r.at, p)
		}
		return v
	})
}

// match compares an answer with the page, and stores the values of new placeholders.
func (r *runner) match(got, want string) {
	r.t.Helper()
	var names []string
	pattern := regexp.QuoteMeta(want) // leaves < and > as they are
	pattern = placeholder.ReplaceAllStringFunc(pattern, func(p string) string {
		if v, ok := r.known[p]; ok {
			return regexp.QuoteMeta(v)
		}
		names = append(names, p)
		return `([^"\s]+)`
	})
	values := regexp.MustCompile("^" + pattern + "$").FindStringSubmatch(got)
	if values == nil {
		r.t.Fatalf("%s: got\n%s\nthe page says\n%s", r.at, got, want)
	}
	for i, name := range names {
		r.known[name] = values[i+1]
	}
}

// split returns the parts of an HTTP message: its first line, its headers as
// name, value pairs, and its body.
func split(text string) (first string, header []string, body string) {
	head, body, _ := strings.Cut(text, "\n\n")
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		header = append(header, name, value)
	}
	return lines[0], header, body
}

func (r *runner) request(text string) {
	first, header, body := split(r.fill(text))
	method, path, _ := strings.Cut(first, " ")
	r.answer = r.h.request(method, path, body, header...)
}

func (r *runner) response(text string) {
	first, header, body := split(text)
	if got := fmt.Sprint(r.answer.status); !strings.HasPrefix(first, got+" ") {
		r.t.Fatalf("%s: %s\n%s\nthe page says %s", r.at, got, r.answer.body, first)
	}
	for i := 0; i < len(header); i += 2 {
		r.match(r.answer.header.Get(header[i]), header[i+1])
	}
	r.match(compact(r.t, r.answer.body), compact(r.t, body))
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return b.String()
}

func (r *runner) follow(text string) {
	if r.open != nil {
		r.open.body.Close()
	}
	first, header, _ := split(r.fill(text))
	r.open = r.h.follow(strings.TrimPrefix(first, "GET "), header...)
}

func (r *runner) stream(text string) {
	for block := range strings.SplitSeq(strings.TrimSuffix(text, "\n\n"), "\n\n") {
		r.match(r.open.block(), block+"\n")
	}
}

func (r *runner) socket(text string) {
	if r.ws == nil {
		r.ws = r.h.dial("tidemark.v1")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if message, ok := strings.CutPrefix(line, "> "); ok {
			r.ws.send(r.fill(message))
			continue
		}
		r.match(r.ws.frame(), strings.TrimPrefix(line, "< "))
	}
}

// rows returns the first cells of the page's table rows that match pattern.
func rows(t *testing.T, pattern string) []string {
	t.Helper()
	page, err := os.ReadFile(protocol)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile(`(?m)^\| `+pattern).FindAllStringSubmatch(string(page), -1) {
		found = append(found, strings.Join(m[1:], " "))
	}
	slices.Sort(found)
	return found
}

// The page lists every problem, with its status.
func TestProtocolListsEveryProblem(t *testing.T) {
	var want []string
	for _, c := range api.Codes() {
		want = append(want, fmt.Sprintf("%s %d", c.Code, c.Status))
	}
	slices.Sort(want)
	want = slices.Compact(want)
	if got := rows(t, "`([a-z-]+)` \\| ([0-9]{3})"); !slices.Equal(got, want) {
		t.Errorf("the page has\n%v\nthe table of problems\n%v", got, want)
	}
}
