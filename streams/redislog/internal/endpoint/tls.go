package endpoint

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// TLSFiles names the PEM files of a TLS connection. The zero value trusts the system's
// authorities and presents no certificate.
type TLSFiles struct {
	CAFile     string // authorities that may have signed the server's certificate
	CertFile   string // this client's certificate, with its intermediate certificates
	KeyFile    string // the key of CertFile
	ServerName string // name in every server's certificate; "" means the dialled host
}

// TLSConfig reads the files. It returns nil for an endpoint without TLS.
func (e *Endpoint) TLSConfig(files TLSFiles) (*tls.Config, error) {
	switch {
	case e.TLS:
		return files.config()
	case files != TLSFiles{}:
		return nil, errors.New("TLS files are set, but the URL is not for TLS: change its scheme to start with rediss, or remove the files")
	}
	return nil, nil
}

func (t TLSFiles) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := readFile(t.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority: %s has no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return c, nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("a client certificate and its key go together: set the files of both")
	}
	pair, err := t.clientCertificate()
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func (t TLSFiles) clientCertificate() (tls.Certificate, error) {
	cert, err := readFile(t.CertFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(t.KeyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("%s with %s: %w", t.CertFile, t.KeyFile, err)
	}
	return pair, err
}
