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

// Nginx runs deploy/nginx.conf.
func Nginx(t testing.TB, o Options) *Proxy {
	t.Helper()
	require.Program(t, "nginx")
	dir, addr := t.TempDir(), redistest.FreeAddr(t)
	conf := edit(t, "nginx.conf", read(t, "nginx.conf"), map[string]string{
		"listen 8080;":                                   "listen " + addr + ";",
		"worker_shutdown_timeout 60s":                    "worker_shutdown_timeout 1s",
		"server node1:8080 max_fails=1 fail_timeout=2s;": nginxServers(o.Nodes),
		"server node2:8080 max_fails=1 fail_timeout=2s;": "",
		"http {\n": "http {\n" + temporaryPaths(dir),
	}, o.Instead)
	return startNginx(t, dir, conf, &Proxy{Addr: addr})
}

// NginxTLS runs deploy/nginx-tls.conf inside otherwise minimal settings of nginx.
func NginxTLS(t testing.TB, o Options) *Proxy {
	t.Helper()
	require.Program(t, "nginx")
	dir, addr := t.TempDir(), redistest.FreeAddr(t)
	access, errors := filepath.Join(dir, "access.log"), filepath.Join(dir, "error.log")
	conf := edit(t, "nginx-tls.conf", read(t, "nginx-tls.conf"), map[string]string{
		"listen 443 ssl http2;":                              "listen " + addr + " ssl http2;",
		"server 127.0.0.1:8081 max_fails=1 fail_timeout=2s;": nginxServers(o.Nodes),
		"server 127.0.0.1:8082 max_fails=1 fail_timeout=2s;": "",
		"/etc/tidemark/cert.pem":                             o.Cert,
		"/etc/tidemark/key.pem":                              o.Key,
		"/var/log/nginx/tidemark.log":                        access,
		"/var/log/nginx/tidemark-error.log":                  errors,
	}, o.Instead)
	conf = "worker_shutdown_timeout 1s;\nevents { worker_connections 1024; }\nhttp {\n" + temporaryPaths(dir) + conf + "}\n"
	return startNginx(t, dir, conf, &Proxy{Addr: addr, tls: true, logs: []string{access, errors}})
}

func startNginx(t testing.TB, dir, conf string, p *Proxy) *Proxy {
	t.Helper()
	head := "daemon off;\nerror_log stderr notice;\npid " + dir + "/pid;\n"
	if os.Geteuid() == 0 {
		head = "user root;\n" + head // only root can read its directory
	}
	name := filepath.Join(dir, "nginx.conf")
	write(t, name, head+conf)
	p.t = t
	p.Process = program.Start(t, program.Options{}, "nginx", "-p", dir, "-c", name, "-e", "stderr")
	t.Cleanup(p.Stop)
	p.reload = func() {
		t.Helper()
		p.Signal(syscall.SIGHUP)
		p.Stderr.AwaitText(t, "gracefully shutting down")
	}
	p.Stderr.AwaitText(t, "start worker process")
	p.awaitService()
	return p
}

func nginxServers(nodes []string) string {
	return servers(nodes, func(_ int, addr string) string {
		return fmt.Sprintf("server %s max_fails=1 fail_timeout=2s;\n", addr)
	})
}

// temporaryPaths returns settings that keep nginx out of the system's directories.
func temporaryPaths(dir string) string {
	var text strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return text.String()
}
