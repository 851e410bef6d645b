// Package require skips tests that run a program which is not installed.
//
// It is a short copy of tests/require, which belongs to another module. scripts/summary
// reads the messages of both.
package require

import (
	"os"
	"os/exec"
	"testing"
)

// Program skips the test if a program is not on the PATH. With CI=true or REQUIRE=all in
// the environment it fails the test instead.
func Program(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err == nil {
		return
	}
	message := "needs " + name + "; to get it: scripts/need " + name
	if os.Getenv("CI") == "true" || os.Getenv("REQUIRE") == "all" {
		t.Fatal(message)
	}
	t.Skip(message)
}
