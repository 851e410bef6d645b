package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/tests/program"
)

// An authority signs certificates for localhost.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate, PEM
	n    int64  // certificates signed
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newSigner(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := a.sign(template, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, a.file, "CERTIFICATE", der)
	return a
}

func newSigner(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// issue writes a new pair into dir, with the name given and an end.
func (a *authority) issue(dir, name string, end time.Time) {
	a.t.Helper()
	a.n++
	key := newSigner(a.t)
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1 + a.n), Subject: pkix.Name{CommonName: name}, NotAfter: end, DNSNames: []string{"localhost"},
	}, a.cert, key)
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	writePEM(a.t, filepath.Join(dir, "tls.crt"), "CERTIFICATE", der)
	writePEM(a.t, filepath.Join(dir, "tls.key"), "PRIVATE KEY", text)
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// trusting returns a client that trusts a.
func (a *authority) trusting(network string) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(network == "http/1.1")
	transport.Protocols.SetHTTP2(network == "h2")
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// A lockedBuffer is written by one goroutine while another reads what is there.
type lockedBuffer struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// A certificate is taken whichever way its files are replaced, and a pair that does not
// fit is warned of once, and not taken.
func TestCertificateIsReplaced(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	start := time.Now().Truncate(time.Second).Add(time.Hour)
	// As Kubernetes mounts a secret: files are links into a directory that is a link.
	publish := func(version, name string) {
		t.Helper()
		data := filepath.Join(dir, version)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		a.issue(data, name, start)
		fresh := filepath.Join(dir, "fresh")
		if err := os.Symlink(version, fresh); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(fresh, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("1", "first")
	cert, key := filepath.Join(dir, "..data", "tls.crt"), filepath.Join(dir, "..data", "tls.key")

	synctest.Test(t, func(t *testing.T) {
		var said lockedBuffer
		c, err := openCertificate(cert, key, nil, slog.New(slog.NewTextHandler(&said, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		shows := func(want string) {
			t.Helper()
			time.Sleep(3 * lookEvery) // in virtual time
			synctest.Wait()
			pair, err := c.config().GetCertificate(nil)
			if err != nil || pair.Leaf.Subject.CommonName != want {
				t.Errorf("it shows %v, %v, want %s\n%s", pair.Leaf.Subject, err, want, &said)
			}
		}
		shows("first")
		publish("2", "second")
		shows("second")
		writePEM(t, key, "PRIVATE KEY", []byte("half of a pair"))
		shows("second")
		if n := strings.Count(said.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings of one change:\n%s", n, &said)
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		shows("second")
		publish("3", "third")
		shows("third")
		if n := strings.Count(said.String(), "level=WARN"); n != 2 {
			t.Errorf("%d warnings of two changes:\n%s", n, &said)
		}
	})
}

// The program speaks TLS 1.2 or later and HTTP/1.1 or HTTP/2 on one port, says when the
// certificate ends, and takes a new one on SIGHUP without a client noticing.
func TestTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	dir := t.TempDir()
	end := time.Now().Truncate(time.Second).Add(time.Hour)
	a.issue(dir, "first", end)
	s := tidemark.Serve(t, program.Options{}, "--data", t.TempDir(), "--tls-cert", dir+"/tls.crt", "--tls-key", dir+"/tls.key")
	url := "https://" + s.Addr

	for _, network := range []string{"http/1.1", "h2"} {
		res, err := a.trusting(network).Get(url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || (res.ProtoMajor == 2) != (network == "h2") {
			t.Errorf("%s: %s %v", network, res.Proto, err)
		}
		if want := fmt.Sprintf("tidemark_tls_certificate_expiry_seconds %v\n", float64(end.Unix())); !strings.Contains(string(page), want) {
			t.Errorf("the metrics lack %q", want)
		}
	}
	old, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
	if err == nil {
		old.Close()
		t.Error("TLS 1.1 is spoken")
	}

	// The client commands trust what the system, or SSL_CERT_FILE, says.
	client := program.Options{Env: []string{"SSL_CERT_FILE=" + a.file, "TIDEMARK_URL=https://localhost:" + s.Addr[strings.LastIndex(s.Addr, ":")+1:]}}
	tail := tidemark.Start(t, client, "tail", "lobby", "--since", "earliest", "--json")
	id := strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "1"))
	tail.Stdout.AwaitText(t, id)

	a.issue(dir, "second", end.Add(time.Hour))
	s.Signal(syscall.SIGHUP)
	s.Stderr.AwaitText(t, "a new certificate")
	conn, err := tls.Dial("tcp", s.Addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := conn.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "second" {
		t.Errorf("it shows the %s certificate", got)
	}
	id = strings.TrimSpace(tidemark.Must(t, client, "publish", "lobby", "2"))
	tail.Stdout.AwaitText(t, id) // on the connection that it had
}

// What can't be meant is said in one line.
func TestWrongCertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	dir, other := t.TempDir(), t.TempDir()
	a.issue(dir, "first", time.Now().Add(time.Hour))
	a.issue(other, "second", time.Now().Add(time.Hour))
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

// A chain that is cut within a certificate is not taken: its first is whole, and fits.
func TestHalfAChain(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	a.issue(dir, "first", time.Now().Add(time.Hour))
	c := &certificate{certFile: dir + "/tls.crt", keyFile: dir + "/tls.key"}
	first, err := os.ReadFile(c.certFile)
	if err != nil {
		t.Fatal(err)
	}
	for size, whole := range map[int]bool{len(first) / 2: false, len(first): true} {
		if err := os.WriteFile(c.certFile, append(first[:len(first):len(first)], first[:size]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.look(); (err == nil) != whole {
			t.Errorf("with %d of %d bytes of the second: %v", size, len(first), err)
		}
	}
}
