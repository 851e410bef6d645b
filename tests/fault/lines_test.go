package fault_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// healLimit is how long a toxic may take to come or go. toxiproxy waits for what
// is on its way through each connection, which may be a client that does not
// read; cutting the line lets it go.
const healLimit = 2 * time.Second

// A line is a proxy between two parties of a world, on which harm can be done.
// Its methods are for one goroutine at a time.
type line struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	addr  string // host:port to connect to; it stays
}

// newLine starts a line to target, host:port, which ends with the test.
func newLine(t *testing.T, target string) *line {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{t: t, proxy: toxiproxy.NewProxy(server, target, "127.0.0.1:0", target)}
	l.open()
	l.addr = l.proxy.Listen
	t.Cleanup(l.close)
	return l
}

// close resets nothing politely: all connections end, and none is accepted.
func (l *line) close() { l.proxy.Stop() }

func (l *line) open() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Errorf("open the line to %s: %v", l.proxy.Upstream, err)
	}
}

// cut ends all connections.
func (l *line) cut() {
	l.t.Helper()
	l.close()
	l.open()
}

// A toxic is one kind of harm, in toxiproxy's words.
type toxic struct {
	kind       string
	attributes map[string]int
}

// slow delays everything by ms, give or take half of it.
func slow(ms int) toxic {
	return toxic{"latency", map[string]int{"latency": ms, "jitter": ms / 2}}
}

// narrow lets through so many KB a second.
func narrow(kb int) toxic { return toxic{"bandwidth", map[string]int{"rate": kb}} }

// blackHole swallows everything. The connections end when it is taken away, for
// what they have lost is lost.
func blackHole() toxic { return toxic{"timeout", map[string]int{"timeout": 0}} }

// harm does x to both directions, from now on.
func (l *line) harm(x toxic) {
	l.t.Helper()
	for _, direction := range []string{"upstream", "downstream"} {
		text, err := json.Marshal(map[string]any{"type": x.kind, "stream": direction, "attributes": x.attributes})
		if err != nil {
			l.t.Error(err)
		}
		l.do(func() {
			if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
				l.t.Errorf("harm the line to %s: %v", l.proxy.Upstream, err)
			}
		})
	}
}

// heal takes all harm away.
func (l *line) heal() {
	l.do(func() { l.proxy.Toxics.ResetToxics(context.Background()) })
}

// do waits for f no longer than healLimit, and then cuts the line to let it end.
func (l *line) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return
	case <-time.After(healLimit):
	}
	l.cut()
	<-done
}
