// Package proxies runs the reverse proxies whose settings are in deploy/, for tests: the
// very files that people take, with other addresses and directories.
package proxies

import (
	"crypto/tls"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
)

const (
	// again is how long to wait before a proxy is asked once more whether it is there.
	again = 20 * time.Millisecond
)

// Options say what a proxy is to be like.
type Options struct {
	Nodes []string // host:port of each

	// Cert and Key are PEM files. Those who speak TLS need them.
	Cert, Key string

	// Instead has text of the settings and what stands in its place, each there once.
	Instead map[string]string
}

// A Proxy runs. It ends with the test.
type Proxy struct {
	*program.Process
	Addr string // host:port

	t      testing.TB
	tls    bool
	reload func()
	logs   []string // files
	stop   sync.Once
}

// URL is the proxy's address for clients.
func (p *Proxy) URL() string {
	if p.tls {
		return "https://" + p.Addr
	}
	return "http://" + p.Addr
}

// TLS reports whether clients speak TLS to p.
func (p *Proxy) TLS() bool { return p.tls }

// Reload has p read its settings again, as its operator would.
func (p *Proxy) Reload() {
	p.t.Helper()
	p.reload()
}

// Logs returns all that p has written into its logs.
func (p *Proxy) Logs() string {
	p.t.Helper()
	all := p.Stdout.String() + p.Stderr.String()
	for _, name := range p.logs {
		text, err := os.ReadFile(name)
		if err != nil {
			p.t.Fatal(err)
		}
		all += string(text)
	}
	return all
}

// awaitService waits until p passes requests on. Whether a node answers them does not
// matter here.
func (p *Proxy) awaitService() {
	p.t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // whose it is, is for tests to ask
	}
	client := &http.Client{Transport: transport, Timeout: wait.Limit}
	deadline := time.Now().Add(wait.Limit)
	for {
		res, err := client.Get(p.URL() + "/livez")
		if err == nil {
			res.Body.Close()
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the proxy does not answer: %v\n%s", err, p.Stderr)
		}
		time.Sleep(again)
	}
}

// Stop ends p in order, which the end of the test does too: its workers would outlive a
// kill.
func (p *Proxy) Stop() {
	p.stop.Do(func() {
		p.Signal(syscall.SIGTERM)
		p.Wait()
	})
}

// read returns a file of deploy/.
func read(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(moduleRoot(t), "deploy", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// moduleRoot returns the directory with go.mod above the test's own directory. A file's
// name from runtime.Caller would not do: with -trimpath it has no directory.
func moduleRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the working directory")
		}
		dir = parent
	}
}

// edit replaces each text by another. A text that is not there once is a test that would
// test something else.
func edit(t testing.TB, name, text string, edits ...map[string]string) string {
	t.Helper()
	for _, list := range edits {
		for old, new := range list {
			if n := strings.Count(text, old); n != 1 {
				t.Fatalf("deploy/%s has %q %d times, want once", name, old, n)
			}
			text = strings.Replace(text, old, new, 1)
		}
	}
	return text
}

func write(t testing.TB, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// servers writes a line for each node, as nginx and HAProxy do.
func servers(nodes []string, line func(i int, addr string) string) string {
	var text strings.Builder
	for i, addr := range nodes {
		text.WriteString(line(i, addr))
	}
	return text.String()
}
