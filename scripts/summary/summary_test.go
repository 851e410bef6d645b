package main

import (
	"strings"
	"testing"
)

// run returns what summary prints for the events, one to a line.
func run(t *testing.T, events string) (string, *summary) {
	t.Helper()
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	s.printCounts()
	s.printSkipped(func(get string) string { return "<" + get + ">" })
	return out.String(), s
}

const events = `{"Action":"start","Package":"github.com/tidemark/tidemark/a"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestGood","Output":"    a.go:1: chatter\n"}
{"Action":"pass","Package":"github.com/tidemark/tidemark/a","Test":"TestGood"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestProxy","Output":"=== RUN   TestProxy\n"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestProxy","Output":"    a.go:9: needs nginx; to get it: scripts/need nginx\n"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestProxy","Output":"--- SKIP: TestProxy (0.00s)\n"}
{"Action":"skip","Package":"github.com/tidemark/tidemark/a","Test":"TestProxy"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Test":"TestSlow","Output":"    a.go:12: left out with -short\n"}
{"Action":"skip","Package":"github.com/tidemark/tidemark/a","Test":"TestSlow"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Output":"PASS\n"}
{"Action":"output","Package":"github.com/tidemark/tidemark/a","Output":"ok  \tgithub.com/tidemark/tidemark/a\t0.1s\n"}
{"Action":"pass","Package":"github.com/tidemark/tidemark/a"}
`

func TestSkippedByName(t *testing.T) {
	out, s := run(t, events)
	want := `ok  	github.com/tidemark/tidemark/a	0.1s

1 tests ran, 0 failed, 2 were skipped.

SKIPPED      WHY                   HOW TO GET IT
a TestSlow   left out with -short  <>
a TestProxy  nginx is missing      <scripts/need nginx>
`
	if out != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out, want)
	}
	if s.broken {
		t.Error("a package counts as failed, and none has")
	}
}

func TestReasons(t *testing.T) {
	_, s := run(t, events)
	var out strings.Builder
	s.to = &out
	s.printReasons()
	want := "1 skipped: left out with -short\n1 skipped: nginx is missing\n"
	if got := out.String(); got != want {
		t.Errorf("printed:\n%s\nwant:\n%s", got, want)
	}
}

func TestFailuresAreShown(t *testing.T) {
	out, s := run(t, `{"Action":"output","Package":"b","Test":"TestGood","Output":"chatter\n"}
{"Action":"pass","Package":"b","Test":"TestGood"}
{"Action":"output","Package":"b","Test":"TestBad","Output":"=== RUN   TestBad\n"}
{"Action":"output","Package":"b","Test":"TestBad/part","Output":"    b.go:3: got 1, want 2\n"}
{"Action":"fail","Package":"b","Test":"TestBad/part"}
{"Action":"fail","Package":"b","Test":"TestBad"}
{"Action":"output","Package":"b","Test":"TestHangs","Output":"panic: test timed out\n"}
{"Action":"output","Package":"b","Output":"FAIL\tb\t1s\n"}
{"Action":"fail","Package":"b"}
{"ImportPath":"c","Action":"build-output","Output":"c.go:1: syntax error\n"}
{"ImportPath":"c","Action":"build-fail"}
{"Action":"fail","Package":"c","FailedBuild":"c"}
go: no such module
`)
	want := `    b.go:3: got 1, want 2
panic: test timed out
FAIL	b	1s
c.go:1: syntax error
go: no such module

2 tests ran, 1 failed, 0 were skipped.
`
	if out != want {
		t.Errorf("printed:\n%s\nwant:\n%s", out, want)
	}
	if !s.broken {
		t.Error("no package counts as failed, and two have")
	}
}
