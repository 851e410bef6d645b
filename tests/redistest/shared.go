package redistest

import (
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the server that all tests of one binary use. It is a package variable because a
// test binary is its scope. Main ends it.
var shared struct {
	mu sync.Mutex // guards b
	b  backend    // nil until the first Shared
}

// Shared returns a Redis that all tests of the package share: separate them by a key prefix.
// It cannot be flushed, stopped or killed. The package's TestMain must call Main.
func Shared(t testing.TB) *Server {
	t.Helper()
	skipShort(t)
	c := choose()
	if c.err != nil {
		t.Fatal(c.err)
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.b == nil {
		b, err := c.start(nil)
		if err != nil {
			t.Fatalf("start Redis: %v", err)
		}
		shared.b = b
		report()
	}
	return &Server{t: t, b: shared.b, shared: true}
}

// skipShort skips a test that needs Redis when the tests run with -short.
func skipShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short leaves out tests that need Redis")
	}
}

// Main runs the tests of a package, prints which Redis they use, and ends the server of
// Shared. Exit with its result.
func Main(m *testing.M) int {
	flag.Parse()
	if !testing.Short() {
		fmt.Fprintln(os.Stderr, "redistest:", Source())
	}
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.b != nil {
		shared.b.close()
		shared.b = nil
	}
	return code
}
