package proxies

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
	"github.com/tidemark/tidemark/tests/require"
)

// Caddy runs deploy/Caddyfile with an existing certificate.
func Caddy(t testing.TB, o Options) *Proxy {
	t.Helper()
	require.Program(t, "caddy")
	dir, addr, admin := t.TempDir(), redistest.FreeAddr(t), redistest.FreeAddr(t)
	conf := edit(t, "Caddyfile", read(t, "Caddyfile"), map[string]string{
		"tidemark.example.com {\n":      "https://" + addr + " {\n\ttls " + o.Cert + " " + o.Key + "\n",
		"127.0.0.1:8081 127.0.0.1:8082": strings.Join(o.Nodes, " "),
		"\tgrace_period 10s\n": "\tgrace_period 1s\n\tadmin " + admin + "\n\tauto_https disable_redirects\n" +
			"\tservers {\n\t\tprotocols h1 h2\n\t}\n", // without HTTP/3: no test uses it, and redistest.FreeAddr occupies the UDP port
	}, o.Instead)
	name := filepath.Join(dir, "Caddyfile")
	write(t, name, conf)
	env := []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}
	p := &Proxy{Addr: addr, tls: true, t: t}
	p.Process = program.Start(t, program.Options{Env: env}, "caddy", "run", "--config", name, "--adapter", "caddyfile")
	t.Cleanup(p.Stop)
	p.reload = func() {
		t.Helper()
		cmd := exec.Command("caddy", "reload", "--force", "--config", name, "--adapter", "caddyfile", "--address", admin)
		cmd.Env = append(cmd.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("caddy reload: %v\n%s", err, out)
		}
	}
	p.awaitService()
	return p
}
