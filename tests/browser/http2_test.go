package browser

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// Over HTTP/2 a browser opens as many streams as a page wants, on one connection; over
// HTTP/1.1 it opens six. WebSockets work on the same port.
func TestHTTP2AllowsManyStreams(t *testing.T) {
	t.Parallel()
	const rooms = 20
	versions := &versionsOf{seen: map[string]int{}}
	s := serve(t, t.TempDir(), nil)
	secure := httptest.NewUnstartedServer(versions.of(s.record(s.API)))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close) // before s ends: its streams are drained first
	t.Cleanup(func() { s.Drain(t) })
	p := openPage(t, secure.URL, trusting(secure))
	eval[any](p, fmt.Sprintf(`(() => {
		window.got = {};
		window.opened = 0;
		for (let i = 0; i < %d; i++) {
			const source = new EventSource('/v1/rooms/room' + i + '/events');
			source.onopen = () => window.opened++;
			source.onmessage = (e) => window.got[i] = e.data;
		}
		const socket = new WebSocket('wss://' + location.host + '/v1/ws', 'tidemark.v1');
		socket.onopen = () => socket.send('{"op":"subscribe","room":"room0"}');
		socket.onmessage = (e) => { if (JSON.parse(e.data).op === 'event') window.got.socket = e.data; };
		return null;
	})()`, rooms))
	p.await(fmt.Sprintf(`window.opened === %d`, rooms))
	for i := range rooms {
		s.Publish(t, fmt.Sprint("room", i), "message", fmt.Sprint(i))
	}
	p.await(fmt.Sprintf(`[...Array(%d).keys()].every((i) => window.got[i] === String(i))`, rooms))
	p.await(`window.got.socket !== undefined`)
	versions.mu.Lock()
	defer versions.mu.Unlock()
	if versions.seen["HTTP/2.0 text/event-stream"] != rooms {
		t.Errorf("requests by version: %v", versions.seen)
	}
}

// versionsOf counts requests by HTTP version and Accept header.
type versionsOf struct {
	mu   sync.Mutex // guards seen
	seen map[string]int
}

func (v *versionsOf) of(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.mu.Lock()
		v.seen[r.Proto+" "+r.Header.Get("Accept")]++
		v.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// trusting makes the browser trust a server's certificate.
func trusting(s *httptest.Server) chromedp.ExecAllocatorOption {
	key := sha256.Sum256(s.Certificate().RawSubjectPublicKeyInfo)
	return chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:]))
}
