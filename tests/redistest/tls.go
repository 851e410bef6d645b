package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certificates are the files of a private certificate authority.
type Certificates struct {
	dir  string
	ca   *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64 // serial number

	CA string // file with the authority's certificate
}

// NewCertificates makes a certificate authority. Its files end with the test.
func NewCertificates(t testing.TB) *Certificates {
	t.Helper()
	c := &Certificates{dir: t.TempDir(), next: 1}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority of " + c.dir}, // distinguishes two authorities
		IsCA:    true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	c.CA, _ = c.issue(t, "ca", template)
	return c
}

// Server issues a certificate for a server with these names and IP addresses.
func (c *Certificates) Server(t testing.TB, name string, hosts ...string) (cert, key string) {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name},
		// Redis also uses it as a client: of its primary and of its peers.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return c.issue(t, name, template)
}

// Client issues a certificate for a client.
func (c *Certificates) Client(t testing.TB, name string) (cert, key string) {
	t.Helper()
	return c.issue(t, name, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// issue signs a certificate for a new key, valid from an hour ago to an hour from now. The
// first certificate is the authority's own.
func (c *Certificates) issue(t testing.TB, name string, template *x509.Certificate) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(c.next)
	c.next++
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if c.ca == nil {
		c.ca, c.key = template, key
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, c.ca, key.Public(), c.key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return c.write(t, name+".crt", "CERTIFICATE", cert), c.write(t, name+".key", "EC PRIVATE KEY", secret)
}

func (c *Certificates) write(t testing.TB, name, kind string, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(c.dir, name)
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A TLSServer is a Redis that also listens for TLS. Only the test uses its plain port.
type TLSServer struct {
	*Server
	TLSAddr string // host:port
}

// StartTLS starts a Redis process with a certificate of c for 127.0.0.1. args are arguments
// of redis-server; "--tls-auth-clients", "no" accepts clients without a certificate.
func (c *Certificates) StartTLS(t testing.TB, args ...string) *TLSServer {
	t.Helper()
	return c.start(t, nil, args...)
}

// StartTLSSentinel starts one Sentinel with a quorum of one. It monitors server as
// "tidemark" over TLS, and listens for TLS itself.
func (c *Certificates) StartTLSSentinel(t testing.TB, server *TLSServer) *TLSServer {
	t.Helper()
	host, port, _ := net.SplitHostPort(server.TLSAddr)
	conf := func(string) []byte {
		return fmt.Appendf(nil, "sentinel monitor %s %s %s 1\n", primaryName, host, port)
	}
	return c.start(t, conf, "--sentinel", "--tls-replication", "yes")
}

func (c *Certificates) start(t testing.TB, conf confFunc, args ...string) *TLSServer {
	t.Helper()
	tls, err := takePort()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tls.release)
	cert, key := c.Server(t, "redis", "127.0.0.1")
	args = append([]string{
		"--tls-port", tls.String(), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", c.CA,
	}, args...)
	return &TLSServer{Server: startWith(t, Options{Args: args}, conf), TLSAddr: tls.addr()}
}
