package proxies

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
	"github.com/tidemark/tidemark/tests/require"
)

// HAProxy runs deploy/haproxy.cfg in master-worker mode, as services do.
func HAProxy(t testing.TB, o Options) *Proxy {
	t.Helper()
	require.Program(t, "haproxy")
	dir, addr := t.TempDir(), redistest.FreeAddr(t)
	pem := filepath.Join(dir, "tidemark.pem")
	write(t, pem, text(t, o.Cert)+text(t, o.Key))
	conf := edit(t, "haproxy.cfg", read(t, "haproxy.cfg"), map[string]string{
		"bind :443":                         "bind " + addr,
		"/etc/haproxy/tidemark.pem":         pem,
		"maxconn 32768":                     "maxconn 1000", // test machines allow fewer descriptors
		"hard-stop-after 60s":               "hard-stop-after 1s",
		"    server node1 127.0.0.1:8081\n": servers(o.Nodes, haproxyServer),
		"    server node2 127.0.0.1:8082\n": "",
	}, o.Instead)
	name := filepath.Join(dir, "haproxy.cfg")
	write(t, name, conf)
	p := &Proxy{Addr: addr, tls: true, t: t}
	p.Process = program.Start(t, program.Options{}, "haproxy", "-W", "-f", name)
	t.Cleanup(p.Stop)
	p.reload = func() {
		t.Helper()
		before := strings.Count(p.Stderr.String(), loaded)
		p.Signal(syscall.SIGUSR2)
		p.Stderr.Await(t, "the end of the reload", func(all string) bool { return strings.Count(all, loaded) > before })
	}
	p.Stderr.AwaitText(t, loaded)
	p.awaitService()
	return p
}

// loaded is the log text when HAProxy's workers have the settings.
const loaded = "Loading success"

func haproxyServer(i int, addr string) string {
	return fmt.Sprintf("    server node%d %s\n", i+1, addr)
}

func text(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
