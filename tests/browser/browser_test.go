package browser

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/internal/cutproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// nothingWrong are the page's own error counts after a good run.
var nothingWrong = map[string]int{"missing": 0, "repeated": 0, "disordered": 0, "gaps": 0}

// compare compares the events that the page shows with those published.
func compare(t *testing.T, p *page, want []string) {
	t.Helper()
	d := logtest.Compare(want, p.events())
	if !d.OK() {
		t.Error(d)
	}
	t.Log(d)
}

// The page closes its EventSource. When it resumes with its cursor in the URL, it receives
// the events published in between, by itself and by others.
func TestPageResumesAfterCut(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	p := openPage(t, s.HTTP.URL)
	want := s.publish(t, "lobby", 1, 15)[5:] // the others are older than the last 10

	p.follow("lobby", "last=10")
	p.awaitState("live")
	p.set("data", `{"text":"from the page"}`)
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('answer').textContent.startsWith('201: ')`)
	want = append(want, strings.TrimPrefix(p.text("answer"), "201: "))
	want = append(want, s.publish(t, "lobby", 16, 4)...)
	p.awaitEvent(want[len(want)-1])
	p.shows(map[string]int{"received": 15, "replayed": 10, "resumes": 0})

	p.click("cut")
	p.awaitState("cut")
	cursor := p.text("cursor")
	want = append(want, s.publish(t, "lobby", 20, 3)...)
	p.click("ten")
	p.await(`document.getElementById('answer').textContent.startsWith('10 published')`)
	p.shows(map[string]int{"missing": 10, "received": 15})
	want = append(want, s.history(t, "lobby", want[len(want)-1], 10)...)

	p.click("back")
	p.awaitState("live")
	want = append(want, s.publish(t, "lobby", 33, 2)...)
	p.awaitEvent(want[len(want)-1])
	compare(t, p, want)
	p.shows(nothingWrong)
	p.shows(map[string]int{"received": len(want), "replayed": 13, "resumes": 1})
	if got, want := s.asked(), []asked{{}, {query: cursor}}; !slices.Equal(got, want) {
		t.Errorf("followed with %q, want %q", got, want)
	}
}

// The connection breaks inside an event, stays broken for a while, and breaks again. The
// page does nothing: the browser's EventSource resumes with Last-Event-ID.
//
// This is the browser's part of scenario 40. TestScenario40RealClients in tests/clients has
// the others.
func TestBrowserResumes(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	proxy := cutproxy.Listen(t, s.Addr())
	p := openPage(t, proxy.URL())
	p.follow("lobby", "since=now")
	p.awaitState("live")

	cutDone := proxy.CutAfter(middle(8))
	want := s.publish(t, "lobby", 1, 7)
	p.awaitEvent(want[6])
	proxy.Refuse(true)
	want = append(want, s.publish(t, "lobby", 8, 1)...)
	<-cutDone
	want = append(want, s.publish(t, "lobby", 9, 12)...)
	p.awaitState("reconnecting")
	proxy.Refuse(false)
	p.awaitState("live")
	p.awaitEvent(want[19])
	p.shows(map[string]int{"received": 20, "replayed": 13, "resumes": 1})

	proxy.Refuse(true)
	proxy.Cut()
	p.awaitState("reconnecting")
	want = append(want, s.publish(t, "lobby", 21, 5)...)
	proxy.Refuse(false)
	p.awaitState("live")
	want = append(want, s.publish(t, "lobby", 26, 1)...)
	p.awaitEvent(want[25])

	compare(t, p, want)
	p.shows(nothingWrong)
	p.shows(map[string]int{"received": 26, "replayed": 5, "resumes": 2})
	if got, want := s.asked(), []asked{{}, {header: want[6]}, {header: want[19]}}; !slices.Equal(got, want) {
		t.Errorf("followed with %q, want %q", got, want)
	}
	for _, r := range p.rows("resume") {
		if !strings.Contains(r.Text, "Last-Event-ID") {
			t.Errorf("the page takes the browser's resume for its own: %s", r.Text)
		}
	}
}

// A server is stopped in order and started again on the same log. A publish through the page
// waits for it, with one key, and no event is missing.
func TestPageSurvivesServerRestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := serve(t, dir, nil)
	proxy := cutproxy.Listen(t, first.Addr())
	p := openPage(t, proxy.URL())
	p.follow("lobby", "since=earliest")
	p.awaitState("live")
	want := first.publish(t, "lobby", 1, 5)
	p.awaitEvent(want[4])

	proxy.Refuse(true) // as a port without a listener does
	first.stop()
	proxy.Cut()
	p.awaitState("reconnecting")
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('answer').textContent.startsWith('No answer yet')`)

	second := serve(t, dir, nil)
	proxy.Retarget(second.Addr())
	want = append(want, second.publish(t, "lobby", 6, 3)...)
	proxy.Refuse(false)
	p.await(`document.getElementById('answer').textContent.startsWith('201: ')`)
	want = append(want, strings.TrimPrefix(p.text("answer"), "201: "))
	p.awaitState("live")
	p.awaitEvent(want[8])
	compare(t, p, want)
	p.shows(nothingWrong)
	p.shows(map[string]int{"received": 9, "resumes": 1})
}

// The page shows a gap notice in its place: after the last event it had, before the first
// event that the room still has.
func TestPageShowsGapInPlace(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), &service.Options{
		Retention: []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: 10, Age: time.Hour}}},
		Hot:       10, // otherwise the node itself would still have the trimmed events
	})
	p := openPage(t, s.HTTP.URL)
	p.follow("lobby", "since=earliest")
	p.awaitState("live")
	before := s.publish(t, "lobby", 1, 5)
	p.awaitEvent(before[4])
	p.click("cut")
	p.click("ten") // the room will trim all of these
	p.await(`document.getElementById('answer').textContent.startsWith('10 published')`)
	after := s.publish(t, "lobby", 6, 2*streams.ExtraKept)
	p.click("back")
	p.awaitState("live")
	p.awaitEvent(after[len(after)-1])

	rows := p.rows("event", "gap")
	at := slices.IndexFunc(rows, func(r row) bool { return r.Class == "gap" })
	if at != 5 || rows[4].ID != before[4] || !strings.Contains(rows[5].Text, "trimmed") {
		t.Fatalf("the gap is at place %d of %v, want 5", at, rows[:min(len(rows), 8)])
	}
	kept := rows[6:]
	if len(kept) < 10 || len(kept) > 10+streams.ExtraKept {
		t.Errorf("%d events after the gap, want 10 and perhaps some more", len(kept))
	}
	compare(t, p, append(before, after[len(after)-len(kept):]...))
	p.shows(map[string]int{"missing": 0, "repeated": 0, "disordered": 0, "gaps": 1, "replayed": len(kept)})
}

// Markup stays text, and events may have the type names of EventSource itself.
func TestPageEscapesData(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	p := openPage(t, s.HTTP.URL)
	data := `{"text":"<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"}`
	want := []string{
		s.Publish(t, "lobby", "message", data),
		s.Publish(t, "lobby", "error", `"an event, not an error"`),
		s.Publish(t, "lobby", "open", `null`),
	}
	p.set("types", "message error open")
	p.follow("lobby", "since=earliest")
	p.awaitState("live")
	want = append(want, s.Publish(t, "lobby", "error", `0`))
	p.awaitEvent(want[3])
	compare(t, p, want)
	p.awaitState("live")
	elements := eval[int](p, `document.querySelectorAll('#events img, #events script').length`)
	title := run(p, chromedp.Title())
	if elements != 0 || title != "Tidemark console" {
		t.Errorf("%d elements made of data, title %q", elements, title)
	}
	if first := p.rows("event")[0].Text; !strings.Contains(first, `<img src=x`) {
		t.Errorf("the data is shown as %q", first)
	}
}

// The page finds a type that it was not told of in the room's history.
func TestPageFindsTypes(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	s.Publish(t, "lobby", "note", `1`)
	p := openPage(t, s.HTTP.URL)
	p.follow("lobby", "since=now")
	p.await(`document.getElementById('types').value.includes('note')`)
	p.awaitState("live")
	p.awaitEvent(s.Publish(t, "lobby", "note", `2`))
}

// The list is bounded; the counts are not.
func TestPageBoundsList(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	ids := s.publish(t, "lobby", 1, 600)
	p := openPage(t, s.HTTP.URL)
	p.follow("lobby", "since=earliest")
	p.awaitState("live")
	p.shows(map[string]int{"received": 600, "replayed": 600})
	rows := p.rows("event", "live")
	if len(rows) != 500 || rows[498].ID != ids[599] {
		t.Errorf("%d rows, the newest event %s; want 500 and %s", len(rows), rows[498].ID, ids[599])
	}
}

// The page shows the text of the problem document when the server refuses a request.
func TestPageShowsProblems(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), nil)
	p := openPage(t, s.HTTP.URL)
	p.set("data", `{"text":`)
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('answer').textContent.startsWith('The data is not JSON')`)

	p.set("data", `1`)
	p.set("type", "tidemark.mine")
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('answer').textContent.startsWith('4')`)
	if got := p.text("answer"); !strings.Contains(got, "tidemark.") {
		t.Errorf("the answer does not name the error: %s", got)
	}

	p.follow("no room!", "since=now")
	p.awaitState("refused")
	p.await(`document.querySelector('.note.error') !== null`)
	if got := p.rows("error")[0].Text; !strings.HasPrefix(got, "Refused: 4") {
		t.Errorf("the list shows %q", got)
	}
}

// If the server requires a token, the page uses the token in its field, and without one it
// shows why it is refused. A stream that ended with its token continues with a new one.
func TestPageUsesToken(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of thirty-two bytes, or more")
	verifier, err := access.Open(access.Options{Secrets: [][]byte{secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	token := func(life time.Duration) string {
		text, err := access.Mint(secret, access.TokenSpec{Subject: "ann", Life: life, Scopes: access.Scopes{Subscribe: []string{"den"}, Publish: []string{"den"}}})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	s := serve(t, t.TempDir(), nil, func(o *api.Options) { o.Access = verifier })
	p := openPage(t, s.HTTP.URL)
	p.follow("den", "since=now")
	p.awaitState("refused")
	p.await(`document.querySelector('.note.error') !== null`)
	if got := p.rows("error")[0].Text; !strings.HasPrefix(got, "Refused: 401 unauthorized") {
		t.Errorf("the list shows %q", got)
	}
	p.set("token", token(20*time.Second))
	p.follow("den", "since=now")
	p.awaitState("live")
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('received').textContent === '1'`)
	p.awaitState("refused") // the token has expired, and the browser returned with it
	p.set("token", token(time.Hour))
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('answer').textContent.startsWith('201')`)
	p.click("back")
	p.awaitState("live")
	p.await(`document.getElementById('received').textContent === '2'`)
	p.shows(map[string]int{"missing": 0, "repeated": 0, "disordered": 0})
}

// Pages of a listed origin can use the node in every way that a browser has. Pages of
// another origin get nothing.
func TestPagesOfOtherOrigins(t *testing.T) {
	t.Parallel()
	secret := []byte("a secret of thirty-two bytes, or more")
	verifier, err := access.Open(access.Options{Secrets: [][]byte{secret}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	den := []string{"den"}
	token, err := access.Mint(secret, access.TokenSpec{Subject: "ann", Life: time.Hour, Scopes: access.Scopes{Subscribe: den, Publish: den}})
	if err != nil {
		t.Fatal(err)
	}
	blank := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><link rel=icon href=data:,><title>an application</title>")
	})
	listed, other := httptest.NewServer(blank), httptest.NewServer(blank)
	t.Cleanup(listed.Close)
	t.Cleanup(other.Close)
	s := serve(t, t.TempDir(), nil, func(o *api.Options) { o.Access, o.Origins = verifier, []string{listed.URL} })

	script := fmt.Sprintf(`(async () => {
		const node = %q, token = %q, room = node + '/v1/rooms/den/events';
		const bearer = { Authorization: 'Bearer ' + token };
		const stream = () => new Promise((done) => {
			const s = new EventSource(room + '?access_token=' + token);
			s.addEventListener('tidemark.live', () => { s.close(); done('live'); });
			s.onerror = () => { s.close(); done('refused'); };
		});
		const socket = () => new Promise((done) => {
			const s = new WebSocket(node.replace('http', 'ws') + '/v1/ws', ['tidemark.v1', 'tidemark.bearer.' + token]);
			s.onopen = () => { s.close(); done('open ' + s.protocol); };
			s.onerror = () => done('refused');
		});
		const ask = (options) => fetch(room, options).then((r) => String(r.status), () => 'refused');
		return [
			await stream(),
			await socket(),
			await ask({ headers: { ...bearer, 'Last-Event-ID': 'earliest' } }),
			await ask({ method: 'POST', headers: { ...bearer, 'Content-Type': 'application/json', 'Idempotency-Key': 'k' }, body: '{"data":1}' }),
			await ask({}),
		].join(', ');
	})()`, s.HTTP.URL, token)
	for url, want := range map[string]string{
		listed.URL: "live, open tidemark.v1, 200, 201, 401",
		other.URL:  "refused, refused, refused, refused, refused",
	} {
		p := openPage(t, url)
		if got := run(p, chromedp.Evaluate[string](script, chromedp.EvalAwaitPromise)); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
		p.forgive("blocked by CORS policy")
	}
}

// The page fits wide and narrow windows, light and dark. If TIDEMARK_SCREENSHOTS names a
// directory, the test leaves screenshots there.
func TestPageLayout(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), &service.Options{
		Name:      "n1",
		Retention: []service.RetentionRule{{Pattern: "*", Retention: streams.Retention{Events: 20, Age: time.Hour}}},
		Hot:       20,
	})
	p := openPage(t, s.HTTP.URL)
	dir := os.Getenv("TIDEMARK_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	p.follow("lobby", "since=now")
	p.awaitState("live")
	for i, text := range []string{"The tide is high", "and nobody holds on", "Grüße aus dem Wattenmeer"} {
		p.awaitEvent(s.Publish(t, "lobby", "message", fmt.Sprintf(`{"from":"ada","n":%d,"text":%q}`, i+1, text)))
	}
	look := func(name, at string) {
		for _, width := range []int64{1400, 400} {
			for _, scheme := range []string{"light", "dark"} {
				p.media(width, 1000, scheme)
				eval[any](p, fmt.Sprintf(`document.querySelector(%q).scrollIntoView({block: 'center'})`, at))
				if wide := eval[int64](p, `document.documentElement.scrollWidth`); wide > width {
					t.Errorf("the page is %d wide in a window of %d", wide, width)
				}
				shot := run(p, chromedp.CaptureScreenshot())
				if !bytes.HasPrefix(shot, []byte("\x89PNG")) {
					t.Fatalf("the screenshot is %d bytes, and no PNG", len(shot))
				}
				file := filepath.Join(dir, fmt.Sprintf("console-%s-%d-%s.png", name, width, scheme))
				if err := os.WriteFile(file, shot, 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	p.click("demo")
	p.await(`document.getElementById('resumes').textContent === '1'`)
	p.awaitState("live")
	p.await(`document.getElementById('missing').textContent === '0'`)
	p.shows(map[string]int{"received": 13, "replayed": 10})
	p.do(chromedp.MouseEvent("mouseMoved", 1, 1)) // moves the pointer off the button
	look("back", "h1")

	p.click("cut")
	p.click("publish button[type=submit]")
	p.await(`document.getElementById('missing').textContent === '1'`)
	s.publish(t, "lobby", 1, streams.ExtraKept+20)
	look("cut", ".note.cut")

	p.click("back")
	p.await(`document.getElementById('gaps').textContent === '1'`)
	p.awaitState("live")
	look("gap", ".note.gap")
}
