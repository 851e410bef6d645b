package main

import (
	"encoding/json"
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
	"time"

	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/program"
)

// An event is a line of --json.
type event struct {
	ID, Type string
	Data     json.RawMessage
	Time     time.Time
}

// events parses lines of --json.
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

// same fails the test unless the ids got are the ids want, in order.
func same(t *testing.T, want, got []string) {
	t.Helper()
	if d := logtest.Compare(want, got); !d.OK() {
		t.Error(d)
	}
}

// numbered returns n different lines of JSON.
func numbered(n int) string {
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
	client.Stdin = numbered(2000)
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
		t.Errorf("tail exits with %d after Ctrl-C, want %d", code, exitOK)
	}
	if hint := "tidemark tail lobby --since " + want[len(want)-1]; !strings.Contains(tail.Stderr.String(), hint) {
		t.Errorf("tail did not print %q:\n%s", hint, tail.Stderr)
	}
}

// history prints rooms of several pages completely, in both directions and from any id.
func TestHistoryPages(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--retain", "*=5000")
	client := at(s)
	client.Stdin = numbered(2500)
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

// tail reconnects after the server was killed and restarted, resumes with its cursor, and
// misses nothing.
func TestTailSurvivesKill(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	s := tidemark.Serve(t, program.Options{}, "--data", data)
	client := at(s)
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	client.Stdin = numbered(100)
	want := lines(tidemark.Must(t, client, "publish", "lobby"))
	tail.Stdout.AwaitLines(t, len(want))

	s.Kill()
	tail.Stderr.AwaitText(t, "connection lost")
	again := tidemark.Serve(t, program.Options{}, "--data", data, "--listen", s.Addr)
	want = append(want, lines(tidemark.Must(t, client, "publish", "lobby"))...)
	tail.Stderr.AwaitText(t, "back, on node")
	want = append(want, lines(tidemark.Must(t, client, "publish", "lobby"))...)
	same(t, want, ids(events(t, tail.Stdout.AwaitLines(t, len(want)))))
	again.Kill() // before tail, so that tail receives nothing more
	tail.Kill()
	if n := len(lines(tail.Stdout.String())); n != len(want) {
		t.Errorf("tail wrote %d lines, want %d", n, len(want))
	}
}

// tail prints a gap notice in its place, as text and as JSON.
func TestTailShowsGaps(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--retain", "lobby=10")
	client := at(s)
	client.Stdin = numbered(500)
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

// publish reports lines that it can't publish, and publishes the others.
func TestPublishBadLines(t *testing.T) {
	t.Parallel()
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--max-data", "50")
	client := at(s)
	client.Stdin = "1\n\nnot json\n\"" + strings.Repeat("x", 50) + "\"\n2" // without a line break at the end
	stdout, stderr, code := tidemark.Run(t, client, "publish", "lobby")
	if code != exitFailed || len(lines(stdout)) != 2 {
		t.Errorf("exit code %d, want %d, and two ids:\n%s", code, exitFailed, stdout)
	}
	for _, want := range []string{"line 3: the data is not JSON", "line 4: Event data too large", "2 failed"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	got := events(t, lines(tidemark.Must(t, client, "history", "lobby", "--json")))
	if len(got) != 2 || string(got[0].Data) != "1" || string(got[1].Data) != "2" {
		t.Errorf("the room has %v", got)
	}
}

// Publishing twice with one key stores one event. Repeating stored lines is harmless.
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
	client.Stdin = numbered(3)
	first := tidemark.Must(t, client, "publish", "lines", "--key", "b")
	client.Stdin = numbered(5)
	if second := tidemark.Must(t, client, "publish", "lines", "--key", "b"); !strings.HasPrefix(second, first) || len(lines(second)) != 5 {
		t.Errorf("published as\n%sand as\n%s", first, second)
	}
}

// publish retries until the server answers, and the event is stored once.
func TestPublishRetries(t *testing.T) {
	t.Parallel()
	real := tidemark.Serve(t, program.Options{}, "--data", t.TempDir())
	proxy := httptest.NewServer(loseEveryOther(t, real.Addr))
	defer proxy.Close()
	client := program.Options{Env: []string{"TIDEMARK_URL=" + proxy.URL}, Stdin: numbered(10)}
	want := lines(tidemark.Must(t, client, "publish", "lobby"))
	want = append(want, strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1")))
	same(t, want, ids(events(t, lines(tidemark.Must(t, at(real), "history", "lobby", "--json")))))
}

// loseEveryOther returns a proxy that forwards requests and loses every other answer.
func loseEveryOther(t *testing.T, addr string) http.Handler {
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

// Without a server, or with a different program in its place, a command prints one line and
// exits with 1. A publish that is retried says so first, because retrying takes long.
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
		lines              int // that publish prints
	}{
		{nobody, "2s", "connection refused", 2}, // publish retries until its timeout
		{other.URL, "1m", "404", 1},             // permanent
		{strange.URL, "1m", "certificate", 1},   // permanent
	} {
		for _, args := range []string{"publish lobby 1 --timeout " + at.timeout, "tail lobby", "history lobby", "health"} {
			_, stderr, code := tidemark.Run(t, program.Options{}, append(strings.Fields(args), "--url", at.url)...)
			n := 1
			if strings.HasPrefix(args, "publish") {
				n = at.lines
			}
			if code != exitFailed || !strings.Contains(stderr, at.want) || len(lines(stderr)) != n {
				t.Errorf("%s of %s: exit code %d, want %d and %d lines with %q:\n%s", args, at.url, code, exitFailed, n, at.want, stderr)
			}
		}
	}
}
