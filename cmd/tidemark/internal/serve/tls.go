package serve

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// tlsFlags set the certificate of the node.
type tlsFlags struct {
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Serve TLS with the certificate in this file: PEM, followed by its intermediate certificates. The node reads it again when it changes, and on SIGHUP."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"File with the private key of the certificate, PEM."`
}

// check refuses one file without the other, and files that do not form a pair.
func (f *tlsFlags) check() error {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return cli.UsageError("--tls-cert and --tls-key go together: one of the two is missing")
	}
	if f.TLSCert == "" {
		return nil
	}
	if _, err := (&certificate{certFile: f.TLSCert, keyFile: f.TLSKey}).reload(); err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	return nil
}

// open returns the certificate to serve with, which SIGHUP reloads, and a function that
// stops watching its files. Without TLS the certificate is nil.
func (f *tlsFlags) open(logger *slog.Logger) (c *certificate, stop func(), err error) {
	if f.TLSCert == "" {
		return nil, func() {}, nil
	}
	hangups := make(chan os.Signal, 1)
	if c, err = openCertificate(f.TLSCert, f.TLSKey, hangups, logger); err != nil {
		return nil, nil, fmt.Errorf("--tls-cert: %w", err)
	}
	signal.Notify(hangups, syscall.SIGHUP)
	return c, func() {
		signal.Stop(hangups)
		c.Close()
	}, nil
}
