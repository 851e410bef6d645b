package main

import (
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// The certificates of tests are good for an hour each way.
func TestCertificateNotes(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	cert, key := certs.Server(t, "redis", "127.0.0.1")
	for want, now := range map[string]time.Time{
		"has been over since": time.Now().Add(2 * time.Hour),
		"is over on":          time.Now(),
		"is not good before":  time.Now().Add(-2 * time.Hour),
	} {
		if notes := certificateNotes("redis-cert", cert, now); len(notes) != 1 || !strings.Contains(notes[0], want) || !strings.Contains(notes[0], cert) {
			t.Errorf("%q, want one note with %q and the file", notes, want)
		}
	}
	for _, file := range []string{key, "/nowhere.pem", ""} {
		if notes := certificateNotes("redis-cert", file, time.Now()); notes != nil {
			t.Errorf("%s: %q", file, notes)
		}
	}
	_, stderr, code := tidemark.Run(t, program.Options{}, "config", "check", "--redis=rediss://127.0.0.1", "--redis-ca", certs.CA)
	if code != exitOK || !strings.Contains(stderr, "warning: --redis-ca") {
		t.Errorf("exit code %d, want %d and a warning:\n%s", code, exitOK, stderr)
	}
}
