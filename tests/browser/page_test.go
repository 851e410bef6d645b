package browser

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/tidemark/tidemark/tests/require"
)

// pageLimit bounds a test that hangs. It decides nothing else.
const pageLimit = 90 * time.Second

// A page is the console in its own browser.
type page struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex // guards complaints
	complaints []string   // what the browser reported against the page
}

// openPage starts a browser and opens the console at url. It ends with the test, which fails
// if the page threw an error or violated its content security policy.
func openPage(t *testing.T, url string, further ...chromedp.ExecAllocatorOption) *page {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(require.Program(t, "chromium")),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU,
		chromedp.Flag("no-sandbox", os.Geteuid() == 0), // Chromium refuses to run as root in its sandbox
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1400, 900),
	)
	options = append(options, further...)
	ctx, closeBrowser := chromedp.NewExecAllocator(context.Background(), options...)
	p := &page{t: t}
	p.ctx, _ = chromedp.NewContext(ctx, chromedp.WithListener(p.listen))
	t.Cleanup(func() {
		bounded, cancel := context.WithTimeout(p.ctx, pageLimit)
		defer cancel()
		if err := chromedp.Cancel(bounded); err != nil {
			t.Logf("end the browser: %v", err)
		}
		closeBrowser()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.complaints {
			t.Errorf("the browser reported: %s", c)
		}
	})
	// The first call's context becomes the browser's: it has no time limit.
	if _, err := chromedp.Call(p.ctx, log.Enable, cdp.Empty{}); err != nil {
		t.Fatalf("start the browser: %v", err)
	}
	p.do(chromedp.Navigate(url))
	return p
}

// listen records the browser's reports: errors of the script, and requests that the content
// security policy stopped. It ignores connections that the test breaks.
func (p *page) listen(event any) {
	var complaint string
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		complaint = e.ExceptionDetails.Text
		if x := e.ExceptionDetails.Exception; x != nil {
			complaint += " " + x.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelError || e.Entry.Source == log.EntrySourceNetwork {
			return
		}
		complaint = e.Entry.Text
	default:
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = append(p.complaints, complaint)
}

// forgive drops the reports that contain text.
func (p *page) forgive(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.complaints = slices.DeleteFunc(p.complaints, func(c string) bool { return strings.Contains(c, text) })
}

func (p *page) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	run(p, chromedp.Steps(steps...))
}

// run runs an action of the browser. The test ends if it fails.
func run[T any](p *page, action chromedp.Action[T]) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, pageLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, action)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.describe())
	}
	return v
}

// eval returns the value of a JavaScript expression in the page.
func eval[T any](p *page, expression string) T {
	p.t.Helper()
	return run(p, chromedp.Evaluate[T](expression))
}

// describe describes the page after a failure.
func (p *page) describe() string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText`))
	if err != nil {
		return fmt.Sprintf("the page does not answer: %v", err)
	}
	return "the page shows:\n" + text[:min(len(text), 3000)]
}

func (p *page) click(id string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS("#" + id + ":not(:disabled)")))
}

// set replaces the text of a field with key presses.
func (p *page) set(id, text string) {
	p.t.Helper()
	eval[any](p, fmt.Sprintf(`document.getElementById(%q).select()`, id))
	p.do(chromedp.SendKeys(chromedp.CSS("#"+id), text))
}

// follow makes the page follow a room; start is one of the choices in the page.
func (p *page) follow(room, start string) {
	p.t.Helper()
	p.set("room", room)
	p.do(
		chromedp.SetValue(chromedp.CSS("#start"), start),
		chromedp.Click(chromedp.CSS("#follow button[type=submit]")),
	)
}

// await returns when the JavaScript condition holds. It evaluates it at each change of the
// document, and at intervals, because the text of an input is not part of the document.
func (p *page) await(condition string) {
	p.t.Helper()
	run(p, chromedp.Evaluate[bool](fmt.Sprintf(`new Promise((done) => {
		const look = () => {
			if (!(%s)) return;
			observer.disconnect();
			clearInterval(timer);
			done(true);
		};
		const observer = new MutationObserver(look);
		observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
		const timer = setInterval(look, 100);
		look();
	})`, condition), chromedp.EvalAwaitPromise))
}

func (p *page) awaitState(state string) {
	p.t.Helper()
	p.await(fmt.Sprintf(`document.getElementById('state').dataset.state === %q`, state))
}

// awaitEvent returns once the event is in the list.
func (p *page) awaitEvent(id string) {
	p.t.Helper()
	p.await(fmt.Sprintf(`document.querySelector('.event[data-id=%q]') !== null`, id))
}

func (p *page) text(id string) string {
	p.t.Helper()
	return eval[string](p, fmt.Sprintf(`document.getElementById(%q).textContent`, id))
}

// number returns one of the counts under "Where it stands".
func (p *page) number(id string) int {
	p.t.Helper()
	n, err := strconv.Atoi(p.text(id))
	if err != nil {
		p.t.Fatalf("#%s: %v", id, err)
	}
	return n
}

// shows compares counts of the page with the expected ones.
func (p *page) shows(want map[string]int) {
	p.t.Helper()
	for id, n := range want {
		if got := p.number(id); got != n {
			p.t.Errorf("the page shows %s: %d, want %d", id, got, n)
		}
	}
}

// A row is one entry of the page's list.
type row struct {
	ID, Class, Text string
}

// rows returns the list, oldest first, with only the notes of the given classes.
func (p *page) rows(classes ...string) []row {
	p.t.Helper()
	rows := eval[[]row](p, `[...document.querySelectorAll('#events > li')].map((li) => ({
		ID: li.dataset.id, Class: li.className.split(' ').includes('event') ? 'event' : li.classList[1], Text: li.innerText}))`)
	slices.Reverse(rows)
	return slices.DeleteFunc(rows, func(r row) bool { return !slices.Contains(classes, r.Class) })
}

// events returns the ids of the events in the list, oldest first.
func (p *page) events() []string {
	p.t.Helper()
	var ids []string
	for _, r := range p.rows("event") {
		ids = append(ids, r.ID)
	}
	return ids
}

// media emulates a window of this width and a light or dark color scheme.
func (p *page) media(width, height int64, scheme string) {
	p.t.Helper()
	p.do(chromedp.EmulateViewport(width, height), func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		})
		return chromedp.Void{}, err
	})
}
