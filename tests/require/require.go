// Package require skips tests whose needs the machine cannot meet.
//
// Most tests need Go and Redis only. Some run another program, such as nginx or a
// browser, or need a right that users rarely have. Such a test begins with a call of
// this package. Where the need is not met, the test is skipped, and the summary of
// scripts/test names the test, the need and the way to meet it. With CI=true or
// REQUIRE=all in the environment the test fails instead, so that no test is lost where
// all of them must run.
//
// Redis is not among these needs: package redistest fails without one.
package require

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// alternatives lists the names of a program that has several. The first one is the name
// by which scripts/need knows it.
var alternatives = map[string][]string{
	"chromium": {"chromium", "chromium-browser", "google-chrome"},
}

// Program returns the path of a program, or skips the test if the program is not on the
// PATH. The name chromium stands for any browser of that family.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := find(name)
	if err != nil {
		Unmet(t, name, "scripts/need "+name)
	}
	return path
}

// find looks for a program on the PATH.
func find(name string) (path string, err error) {
	names := alternatives[name]
	if names == nil {
		names = []string{name}
	}
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// Unmet skips the test, or fails it with CI=true or REQUIRE=all, because the machine
// lacks what need names. get says how to get it: a command, or a sentence.
func Unmet(t testing.TB, need, get string) {
	t.Helper()
	if everything() {
		t.Fatal(message(need, get))
	}
	t.Skip(message(need, get))
}

// message has the form that scripts/summary reads.
func message(need, get string) string {
	return fmt.Sprintf("needs %s; to get it: %s", need, get)
}

// everything reports whether a need that is not met fails the test.
func everything() bool {
	return os.Getenv("CI") == "true" || os.Getenv("REQUIRE") == "all"
}

// Packages installs the npm packages that dir/package-lock.json names, once, or skips
// the test if it cannot.
func Packages(t testing.TB, dir string) {
	t.Helper()
	Program(t, "node")
	npm := Program(t, "npm")
	if err := install(npm, dir); err != nil {
		t.Log(err)
		Unmet(t, "the npm packages of "+filepath.Base(dir), "npm ci in "+dir+", with access to a registry")
	}
}

// installing keeps two tests of one binary from installing at the same time.
var installing sync.Mutex

// install runs npm ci in dir, unless it has run before.
func install(npm, dir string) error {
	installing.Lock()
	defer installing.Unlock()
	// npm writes this file last, so it stands for a complete installation.
	if _, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json")); err == nil {
		return nil
	}
	cmd := exec.Command(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

// RaceFlags returns the flag of go build for a program with the race detector, or
// nothing where no C compiler is installed to link it.
var RaceFlags = sync.OnceValue(func() []string {
	out, err := exec.Command("go", "env", "CGO_ENABLED").Output()
	if err != nil || strings.TrimSpace(string(out)) != "1" {
		return nil
	}
	return []string{"-race"}
})
