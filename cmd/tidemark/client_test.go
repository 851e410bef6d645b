package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/program"
)

// events reads the lines of --json.
func events(t *testing.T, text []string) []event {
	t.Helper()
	var all []event
	for _, line := range text {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, e)
	}
	return all
}

func ids(events []event) []string {
	var ids []string
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}

// same fails the test unless got is what was published.
func same(t *testing.T, want, got []string) {
	t.Helper()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Error(d)
	}
}

// number returns n lines of JSON, each another.
func number(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"n\":%d}\n", i)
	}
	return b.String()
}

func TestPublishTailHistory(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	client := at(s)
	first := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", `{"text": "hi"}`, "--type", "greeting"))
	second := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "--text", "hello, all"))

	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	tail.Stdout.AwaitLines(t, 2)
	client.Stdin = number(2000)
	want := append([]string{first, second}, lines(tidemark.Must(t, client, "publish", "lobby"))...)
	followed := events(t, tail.Stdout.AwaitLines(t, len(want)))
	same(t, want, ids(followed))
	if e := followed[0]; e.Type != "greeting" || string(e.Data) != `{"text":"hi"}` || e.Time.IsZero() {
		t.Errorf("the first event is %+v", e)
	}
	if e := followed[1]; e.Type != "message" || string(e.Data) != `"hello, all"` {
		t.Errorf("the second event is %+v", e)
	}
	tail.Signal(syscall.SIGINT)
	if code := tail.Wait(); code != exitOK {
		t.Errorf("tail ends with %d after Ctrl-C, want %d", code, exitOK)
	}
	if hint := "tidemark tail lobby --since " + want[len(want)-1]; !strings.Contains(tail.Stderr.String(), hint) {
		t.Errorf("tail does not say %q:\n%s", hint, tail.Stderr)
	}
}

// A room of more than a page comes whole, in either direction, and from anywhere.
func TestHistoryPages(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--retain", "*=5000")
	client := at(s)
	client.Stdin = number(2500)
	want := lines(tidemark.Must(t, client, "publish", "lobby", "-"))
	newest := slices.Clone(want)
	slices.Reverse(newest)
	for args, want := range map[string][]string{
		"":                                want,
		"--newest":                        newest,
		"--limit 1500":                    want[:1500],
		"--newest --limit 3":              newest[:3],
		"--after " + want[1999]:           want[2000:],
		"--before " + want[10]:            want[:10],
		"--newest --after " + want[1000]:  newest[:1499],
		"--after " + want[len(want)-1]:    nil,
		"--limit 1000 --after " + want[0]: want[1:1001],
	} {
		out := tidemark.Must(t, client, append([]string{"history", "lobby", "--json"}, strings.Fields(args)...)...)
		var got []string
		if out != "" {
			got = ids(events(t, lines(out)))
		}
		same(t, want, got)
	}
}

// tail comes back by itself after the server has been killed and started again,
// with the cursor that it had, and misses nothing.
func TestTailSurvivesKill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := tidemark.Serve(t, program.Options{}, "--data", data)
	client := at(s)
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	client.Stdin = number(100)
	want := lines(tidemark.Must(t, client, "publish", "lobby"))
	tail.Stdout.AwaitLines(t, len(want))

	s.Kill()
	tail.Stderr.AwaitText(t, "connection lost")
	again := tidemark.Serve(t, program.Options{}, "--data", data, "--listen", s.Addr)
	want = append(want, lines(tidemark.Must(t, client, "publish", "lobby"))...)
	tail.Stderr.AwaitText(t, "back, on node")
	want = append(want, lines(tidemark.Must(t, client, "publish", "lobby"))...)
	same(t, want, ids(events(t, tail.Stdout.AwaitLines(t, len(want)))))
	again.Kill() // before tail, so that nothing more can come
	tail.Kill()
	if n := len(lines(tail.Stdout.String())); n != len(want) {
		t.Errorf("tail wrote %d lines, want %d", n, len(want))
	}
}

// A hole is told in its place, to people and to programs.
func TestTailTellsOfGaps(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--retain", "lobby=10")
	client := at(s)
	client.Stdin = number(500)
	published := lines(tidemark.Must(t, client, "publish", "lobby"))
	for want, args := range map[string][]string{
		`{"gap":{"room":"lobby"`:                   {"--json"},
		"--- events may be missing here (trimmed)": nil,
	} {
		tail := tidemark.Start(t, client, append([]string{"tail", "lobby", "--since", published[0]}, args...)...)
		tail.Stdout.AwaitText(t, published[len(published)-1])
		if got := tail.Stdout.String(); !strings.HasPrefix(got, want) {
			t.Errorf("tail does not begin with %q:\n%s", want, got)
		}
	}
}

// Lines that can't be published are named, the others are published.
func TestPublishBadLines(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--max-data", "50")
	client := at(s)
	client.Stdin = "1\n\nnot json\n\"" + strings.Repeat("x", 50) + "\"\n2" // no line break at the end
	stdout, stderr, code := tidemark.Run(t, client, "publish", "lobby")
	if code != exitFailed || len(lines(stdout)) != 2 {
		t.Errorf("exit code %d, want %d, and two ids:\n%s", code, exitFailed, stdout)
	}
	for _, want := range []string{"line 3: not JSON", "line 4: Event data too large", "2 failed"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	got := events(t, lines(tidemark.Must(t, client, "history", "lobby", "--json")))
	if len(got) != 2 || string(got[0].Data) != "1" || string(got[1].Data) != "2" {
		t.Errorf("the room holds %v", got)
	}
}

// The same key twice is one event; repeating lines that are in is harmless.
func TestPublishWithKey(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	client := at(s)
	once := tidemark.Must(t, client, "publish", "lobby", "1", "--key", "a")
	if again := tidemark.Must(t, client, "publish", "lobby", "1", "--key", "a"); again != once {
		t.Errorf("published as %s and as %s", once, again)
	}
	if _, stderr, code := tidemark.Run(t, client, "publish", "lobby", "2", "--key", "a"); code != exitFailed || !strings.Contains(stderr, "422") {
		t.Errorf("other data under the key: exit code %d\n%s", code, stderr)
	}
	client.Stdin = number(3)
	first := tidemark.Must(t, client, "publish", "lines", "--key", "b")
	client.Stdin = number(5)
	if second := tidemark.Must(t, client, "publish", "lines", "--key", "b"); !strings.HasPrefix(second, first) || len(lines(second)) != 5 {
		t.Errorf("published as\n%sand as\n%s", first, second)
	}
}

// A publish that meets a server which is away, or can't store, goes through once
// it can, once.
func TestPublishPersists(t *testing.T) {
	t.Parallel()
	real := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	proxy := httptest.NewServer(loseFirst(t, real.Addr))
	defer proxy.Close()
	client := program.Options{Env: []string{"TIDEMARK_URL=" + proxy.URL}, Stdin: number(10)}
	want := lines(tidemark.Must(t, client, "publish", "lobby"))
	want = append(want, strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1")))
	same(t, want, ids(events(t, lines(tidemark.Must(t, at(real), "history", "lobby", "--json")))))
}

// loseFirst returns a proxy that passes requests on, and loses every other answer.
func loseFirst(t *testing.T, addr string) http.Handler {
	lose := make(chan bool, 1) // whether to lose the next answer
	lose <- true
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Scheme, out.URL.Host = "", "http", addr
		res, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		now := <-lose
		lose <- !now
		if now {
			http.Error(w, "the answer is lost", http.StatusBadGateway)
			return
		}
		w.WriteHeader(res.StatusCode)
		if _, err := io.Copy(w, res.Body); err != nil {
			t.Error(err)
		}
	})
}

// Without a server, or with something else in its place, there is one line and 1. A publish
// that is tried again says so first, for that takes long.
func TestNoServer(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	strange := httptest.NewUnstartedServer(http.NotFoundHandler())
	strange.Config.ErrorLog = log.New(io.Discard, "", 0)
	strange.StartTLS()
	defer strange.Close()
	for _, at := range []struct {
		url, timeout, want string
		said               int // lines of publish
	}{
		{nobody, "2s", "connection refused", 2}, // publish tries until then
		{other.URL, "1m", "404", 1},             // which trying again would not help
		{strange.URL, "1m", "certificate", 1},   // neither here
	} {
		for _, args := range []string{"publish lobby 1 --timeout " + at.timeout, "tail lobby", "history lobby", "health"} {
			_, stderr, code := tidemark.Run(t, program.Options{}, append(strings.Fields(args), "--url", at.url)...)
			said := 1
			if strings.HasPrefix(args, "publish") {
				said = at.said
			}
			if code != exitFailed || !strings.Contains(stderr, at.want) || len(lines(stderr)) != said {
				t.Errorf("%s of %s: exit code %d, want %d and %d lines with %q:\n%s", args, at.url, code, exitFailed, said, at.want, stderr)
			}
		}
	}
}

// What a block that the end cuts short says does not count.
func TestBlockReader(t *testing.T) {
	t.Parallel()
	r := newBlockReader(strings.NewReader("retry: 250\nevent: a\nid: 1\ndata: x\ndata:  y\n\n: comment\r\nid\r\n\r\nid: 2\ndata: cut"))
	first, err := r.next()
	if want := (block{event: "a", id: "1", hasID: true, data: "x\n y", retry: 250e6}); err != nil || first != want {
		t.Errorf("got %+v, %v, want %+v", first, err, want)
	}
	second, err := r.next()
	if want := (block{hasID: true}); err != nil || second != want {
		t.Errorf("got %+v, %v, want %+v", second, err, want)
	}
	if b, err := r.next(); b != (block{}) || !errors.Is(err, io.EOF) {
		t.Errorf("got %+v, %v, want the end", b, err)
	}
}

// However a stream is cut, what comes of it is a beginning of what came of the whole.
func FuzzCutStream(f *testing.F) {
	f.Add("retry: 1\nid: a\n\nevent: b\ndata: c\nid: d\n\n", uint(20))
	f.Add("data\r\n\r\n: c\n\n\n", uint(7))
	f.Fuzz(func(t *testing.T, text string, cut uint) {
		whole := blocks(text)
		part := blocks(text[:cut%uint(len(text)+1)])
		if len(part) > len(whole) || !slices.Equal(part, whole[:len(part)]) {
			t.Errorf("got %+v of %+v", part, whole)
		}
	})
}

func blocks(text string) (all []block) {
	for r := newBlockReader(strings.NewReader(text)); ; {
		b, err := r.next()
		if err != nil {
			return all
		}
		all = append(all, b)
	}
}
