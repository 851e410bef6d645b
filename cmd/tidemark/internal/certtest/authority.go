// Package certtest makes certificates for tests of the program.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An Authority signs certificates for localhost.
type Authority struct {
	File string // its own certificate, PEM

	t      *testing.T
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	signed int64 // number of certificates signed
}

// NewAuthority returns a new authority whose certificate is valid for an hour.
func NewAuthority(t *testing.T) *Authority {
	t.Helper()
	a := &Authority{t: t, key: newSigner(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "an authority"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der := a.sign(template, template, a.key)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.File = filepath.Join(t.TempDir(), "ca.pem")
	WritePEM(t, a.File, "CERTIFICATE", der)
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

func (a *Authority) sign(template, parent *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return der
}

// Issue writes a new certificate and key to dir, as tls.crt and tls.key. name is the common
// name, end the expiry.
func (a *Authority) Issue(dir, name string, end time.Time) {
	a.t.Helper()
	a.signed++
	key := newSigner(a.t)
	der := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(1 + a.signed), Subject: pkix.Name{CommonName: name}, NotAfter: end, DNSNames: []string{"localhost"},
	}, a.cert, key)
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	WritePEM(a.t, filepath.Join(dir, "tls.crt"), "CERTIFICATE", der)
	WritePEM(a.t, filepath.Join(dir, "tls.key"), "PRIVATE KEY", text)
}

// Client returns an HTTP client that trusts a. protocol is http/1.1 or h2.
func (a *Authority) Client(protocol string) *http.Client {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(protocol == "http/1.1")
	transport.Protocols.SetHTTP2(protocol == "h2")
	a.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

// WritePEM writes a PEM file with one block of type kind.
func WritePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
