package config

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/redistest"
)

// The certificates of redistest are valid from an hour ago until in an hour.
func TestExpiryWarnings(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	cert, key := certs.Server(t, "redis", "127.0.0.1")
	for want, now := range map[string]time.Time{
		"expired on":          time.Now().Add(2 * time.Hour),
		"expires on":          time.Now(),
		"is not valid before": time.Now().Add(-2 * time.Hour),
	} {
		if warnings := expiryWarnings("redis-cert", cert, now); len(warnings) != 1 || !strings.Contains(warnings[0], want) || !strings.Contains(warnings[0], cert) {
			t.Errorf("%q, want one warning with %q and the file", warnings, want)
		}
	}
	for _, file := range []string{key, "/nowhere.pem", ""} {
		if warnings := expiryWarnings("redis-cert", file, time.Now()); warnings != nil {
			t.Errorf("%s: %q", file, warnings)
		}
	}
}
