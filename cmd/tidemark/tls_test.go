package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/certtest"
	"github.com/tidemark/tidemark/tests/program"
)

// A node serves TLS 1.2 or later, with HTTP/1.1 and HTTP/2, on one port. It reports when the
// certificate expires, and uses a new one on SIGHUP without breaking a connection.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := certtest.NewAuthority(t)
	dir := t.TempDir()
	end := time.Now().Truncate(time.Second).Add(time.Hour)
	a.Issue(dir, "first", end)
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--tls-cert", dir+"/tls.crt", "--tls-key", dir+"/tls.key")
	url := "https://" + s.Addr

	for _, network := range []string{"http/1.1", "h2"} {
		res, err := a.Client(network).Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || (res.ProtoMajor == 2) != (network == "h2") {
			t.Errorf("%s: %s %v", network, res.Proto, err)
		}
		if want := fmt.Sprintf("tidemark_tls_certificate_expiry_seconds %v\n", float64(end.Unix())); !strings.Contains(string(page), want) {
			t.Errorf("the metrics do not have %q", want)
		}
	}
	old, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		old.Close()
		t.Error("the node accepts TLS 1.1")
	}

	// The client commands trust the authorities of the system, or of SSL_CERT_FILE.
	client := program.Options{Env: []string{"SSL_CERT_FILE=" + a.File, "TIDEMARK_URL=https://localhost:" + s.Addr[strings.LastIndex(s.Addr, ":")+1:]}}
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)

	a.Issue(dir, "second", end.Add(time.Hour))
	s.Signal(syscall.SIGHUP)
	s.Stderr.AwaitText(t, "a new certificate")
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "second" {
		t.Errorf("the node presents the %s certificate", got)
	}
	id = strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "2"))
	tail.Stdout.AwaitText(t, id) // on its old connection
}

// A wrong certificate is reported in one line.
func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	a := certtest.NewAuthority(t)
	dir, other := t.TempDir(), t.TempDir()
	a.Issue(dir, "first", time.Now().Add(time.Hour))
	a.Issue(other, "second", time.Now().Add(time.Hour))
	for want, args := range map[string][]string{
		"go together":                 {"--tls-cert", dir + "/tls.crt"},
		"private key does not match":  {"--tls-cert", dir + "/tls.crt", "--tls-key", other + "/tls.key"},
		"no such file":                {"--tls-cert", dir + "/none", "--tls-key", dir + "/tls.key"},
		"failed to find any PEM data": {"--tls-cert", dir + "/tls.crt", "--tls-key", "/dev/null"},
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, append([]string{"serve", "--listen=127.0.0.1:0", "--data", t.TempDir()}, args...)...)
		if code == exitOK || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("%v: exit code %d, want one line with %q:\n%s", args, code, want, stderr)
		}
	}
}
