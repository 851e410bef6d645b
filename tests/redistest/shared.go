package redistest

import (
	"fmt"
	"os"
	"sync"
	"testing"
)

// shared is the server that the tests of one binary have in common. A package
// variable, for that is its scope; Main ends it.
var shared struct {
	mu sync.Mutex // guards b
	b  backend    // nil until the first Shared
}

// Shared returns a Redis that other tests of the package use too: keep apart by
// a key prefix. It cannot be flushed, stopped or killed. The package's TestMain
// must call Main.
func Shared(t testing.TB) *Server {
	t.Helper()
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

// Main runs the tests of a package, says which Redis they ran against, and ends
// the one that Shared started. Exit with what it returns.
func Main(m *testing.M) int {
	fmt.Fprintln(os.Stderr, "redistest:", Source())
	code := m.Run()
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.b != nil {
		shared.b.close()
		shared.b = nil
	}
	return code
}
