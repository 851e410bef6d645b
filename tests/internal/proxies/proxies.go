// Package proxies runs the reverse proxies of deploy/ for tests, with the very files that
// operators use. Only addresses and directories differ.
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
	// retryDelay is the delay between two requests to a proxy that does not answer yet.
	retryDelay = 20 * time.Millisecond
)

// Options tune a proxy.
type Options struct {
	Nodes []string // host:port of each

	// Cert and Key are PEM files, for proxies with TLS.
	Cert, Key string

	// Instead maps texts of the settings to replacements. Each text must occur once.
	Instead map[string]string
}

// A Proxy is a running proxy. It ends with the test.
type Proxy struct {
	*program.Process
	Addr string // host:port

	t      testing.TB
	tls    bool
	reload func()
	logs   []string // files
	stop   sync.Once
}

// URL returns the proxy's address for clients.
func (p *Proxy) URL() string {
	if p.tls {
		return "https://" + p.Addr
	}
	return "http://" + p.Addr
}

// TLS reports whether p requires TLS.
func (p *Proxy) TLS() bool { return p.tls }

// Reload makes p read its settings again, as its operator would.
func (p *Proxy) Reload() {
	p.t.Helper()
	p.reload()
}

// Logs returns all logs of p.
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

// awaitService waits until p forwards requests. Any answer will do, also one without a node.
func (p *Proxy) awaitService() {
	p.t.Helper()
	transport := &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // other tests check the certificate
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
		time.Sleep(retryDelay)
	}
}

// Stop ends p with SIGTERM. The end of the test calls it too. A kill would leave its workers
// running.
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

// edit replaces texts. Each must occur exactly once; otherwise the test would check other
// settings than it claims.
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
