package serve

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A node that stops does not remove the socket that another node has put in place of its
// own.
func TestReplacedSocketIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidemark.sock")
	old, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	for range 2 { // a node closes its listener twice
		old.Close()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
}
