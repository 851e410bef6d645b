package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// lookEvery is how often the files of a certificate are looked at. Who renews it a day
// ahead or more does not notice; who replaces both files one after the other may be seen
// between the two, and then the pair is taken at the next look.
const lookEvery = 10 * time.Second

// A certificate is what the server shows to its clients: a chain and its key, read from
// two files, and again when their contents change.
//
// The contents are compared, rather than the system asked to tell of changes (inotify):
// Kubernetes replaces the link to the directory that the files are in, others rename a file
// over them or write into it, and network file systems tell of nothing. Reading two small
// files costs nothing that anybody would notice.
type certificate struct {
	// Fixed by openCertificate.
	certFile, keyFile string
	logger            *slog.Logger
	stop              context.CancelFunc
	watching          sync.WaitGroup

	seen [sha256.Size]byte // of what was looked at last; owned by watch
	pair atomic.Pointer[tls.Certificate]
}

// openCertificate reads the files, and looks at them again until Close: every lookEvery,
// and whenever something comes from now.
func openCertificate(certFile, keyFile string, now <-chan os.Signal, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if _, err := c.look(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watching.Go(func() { c.watch(ctx, now) })
	return c, nil
}

// Close has the files not looked at any more. The certificate stays good.
func (c *certificate) Close() {
	c.stop()
	c.watching.Wait()
}

func (c *certificate) watch(ctx context.Context, now <-chan os.Signal) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-now:
		}
		switch changed, err := c.look(); {
		case err != nil:
			c.logger.Warn("the new certificate can't be used, the old one stays", "error", err, "expires", c.expires())
		case changed:
			c.logger.Info("a new certificate", "expires", c.expires())
		}
	}
}

// look takes the pair in the files, if they have changed since the last look. An error
// says that they have, and what is wrong with them.
func (c *certificate) look() (changed bool, err error) {
	chain, err := os.ReadFile(c.certFile)
	if err != nil {
		chain = []byte(err.Error())
	}
	key, keyErr := os.ReadFile(c.keyFile)
	if keyErr != nil {
		key = []byte(keyErr.Error())
	}
	seen := sha256.Sum256(fmt.Appendf(nil, "%d %s%s", len(chain), chain, key))
	if seen == c.seen {
		return false, nil
	}
	c.seen = seen
	if err := cmp.Or(err, keyErr); err != nil {
		return true, err
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return true, fmt.Errorf("%s with %s: %w", c.certFile, c.keyFile, err)
	}
	if n := bytes.Count(chain, []byte("-----BEGIN CERTIFICATE-----")); n != len(pair.Certificate) {
		// Somebody is writing the file: clients would be shown a chain that leads nowhere.
		return true, fmt.Errorf("%s: %d of %d certificates can be read", c.certFile, len(pair.Certificate), n)
	}
	c.pair.Store(&pair)
	return true, nil
}

// config is that of a server that shows the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}

func (c *certificate) expires() time.Time { return c.pair.Load().Leaf.NotAfter }

// register adds the metrics of the certificate.
func (c *certificate) register(metrics prometheus.Registerer) {
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidemark_tls_certificate_expiry_seconds",
		Help: "When the certificate that clients are shown expires, in seconds since 1970.",
	}, func() float64 { return float64(c.expires().Unix()) }))
}
