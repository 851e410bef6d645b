package redistest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The servers of a killed test binary end with it.
func TestNoOrphans(t *testing.T) {
	skipShort(t)
	const child = "TIDEMARK_TEST_ORPHANS"
	if os.Getenv(child) != "" {
		fmt.Println("server at", StartProcess(t).Addr())
		os.Exit(0) // without any cleanup
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoOrphans$")
	cmd.Env = append(os.Environ(), child+"=1", "TMPDIR="+t.TempDir())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	_, addr, found := strings.Cut(strings.TrimSpace(string(out)), "server at ")
	if !found {
		t.Fatalf("the other test printed %q", out)
	}
	for deadline := time.Now().Add(startWait); ; time.Sleep(settlePoll) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			t.Fatalf("a server is left behind at %s", addr)
		}
	}
}
