package serve

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

// reloadEvery is how often the files of a certificate are read. An operator who renews a
// certificate at least a day before it expires does not notice the delay. A reload between
// the replacement of the first and the second file fails, and the next one succeeds.
const reloadEvery = 10 * time.Second

// A certificate is the chain and key that the server presents to its clients. It is read from
// two files, and again when their contents change.
//
// The contents are compared, instead of watching the files with inotify, because files are
// replaced in many ways: Kubernetes replaces a link to their directory, other tools rename a
// new file or overwrite the old one, and network file systems report no changes. Reading two
// small files costs next to nothing.
type certificate struct {
	// Fixed by openCertificate.
	certFile, keyFile string
	logger            *slog.Logger
	stop              context.CancelFunc
	watching          sync.WaitGroup

	seen [sha256.Size]byte // hash of the last contents; owned by watch
	pair atomic.Pointer[tls.Certificate]
}

// openCertificate reads the files. Until Close it reads them again every reloadEvery, and at
// each receive from reload.
func openCertificate(certFile, keyFile string, reload <-chan os.Signal, logger *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	if _, err := c.reload(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.watching.Go(func() { c.watch(ctx, reload) })
	return c, nil
}

// Close stops reading the files. The certificate stays usable.
func (c *certificate) Close() {
	c.stop()
	c.watching.Wait()
}

func (c *certificate) watch(ctx context.Context, reload <-chan os.Signal) {
	tick := time.NewTicker(reloadEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-reload:
		}
		switch changed, err := c.reload(); {
		case err != nil:
			c.logger.Warn("the new certificate is unusable, the old one stays in use: check --tls-cert and --tls-key", "error", err, "expires", c.expires())
		case changed:
			c.logger.Info("a new certificate is in use", "expires", c.expires())
		}
	}
}

// reload uses the pair in the files if they have changed since the last call. An error means
// that they have changed and are unusable; the old pair stays in use.
func (c *certificate) reload() (changed bool, err error) {
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
		// The file is probably half written. Clients could not verify the chain.
		return true, fmt.Errorf("%s: only %d of %d certificates are complete", c.certFile, len(pair.Certificate), n)
	}
	c.pair.Store(&pair)
	return true, nil
}

// config returns the configuration of a server that presents the certificate.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil },
	}
}

func (c *certificate) expires() time.Time { return c.pair.Load().Leaf.NotAfter }

// register adds the metric of the certificate.
func (c *certificate) register(metrics prometheus.Registerer) {
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tidemark_tls_certificate_expiry_seconds",
		Help: "Expiry of the certificate that clients receive, in seconds since 1970.",
	}, func() float64 { return float64(c.expires().Unix()) }))
}
