package serve

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/certtest"
)

// A lockedBuffer may be written by one goroutine while another reads its text.
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

// A new certificate is used when its files are replaced the way Kubernetes does it. A pair
// that does not match causes one warning and is not used.
func TestCertificateIsReplaced(t *testing.T) {
	a := certtest.NewAuthority(t)
	dir := t.TempDir()
	start := time.Now().Truncate(time.Second).Add(time.Hour)
	// Kubernetes mounts a secret as links into a directory that is a link itself.
	publish := func(version, name string) {
		t.Helper()
		data := filepath.Join(dir, version)
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		a.Issue(data, name, start)
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
		var log lockedBuffer
		c, err := openCertificate(cert, key, nil, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		shows := func(want string) {
			t.Helper()
			time.Sleep(3 * reloadEvery) // in virtual time
			synctest.Wait()
			pair, err := c.config().GetCertificate(nil)
			if err != nil || pair.Leaf.Subject.CommonName != want {
				t.Errorf("the certificate is %v, %v, want %s\n%s", pair.Leaf.Subject, err, want, &log)
			}
		}
		shows("first")
		publish("2", "second")
		shows("second")
		certtest.WritePEM(t, key, "PRIVATE KEY", []byte("half of a pair"))
		shows("second")
		if n := strings.Count(log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings for one change:\n%s", n, &log)
		}
		if err := os.Remove(key); err != nil {
			t.Fatal(err)
		}
		shows("second")
		publish("3", "third")
		shows("third")
		if n := strings.Count(log.String(), "level=WARN"); n != 2 {
			t.Errorf("%d warnings for two changes:\n%s", n, &log)
		}
	})
}

// A file that ends within its second certificate is not used, although the first one matches
// the key.
func TestIncompleteChain(t *testing.T) {
	a := certtest.NewAuthority(t)
	dir := t.TempDir()
	a.Issue(dir, "first", time.Now().Add(time.Hour))
	c := &certificate{certFile: dir + "/tls.crt", keyFile: dir + "/tls.key"}
	first, err := os.ReadFile(c.certFile)
	if err != nil {
		t.Fatal(err)
	}
	for size, whole := range map[int]bool{len(first) / 2: false, len(first): true} {
		if err := os.WriteFile(c.certFile, append(first[:len(first):len(first)], first[:size]...), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.reload(); (err == nil) != whole {
			t.Errorf("with %d of %d bytes of the second: %v", size, len(first), err)
		}
	}
}
