package require

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// A recorder is a test whose end is recorded.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (r *recorder) Helper() {}

func (r *recorder) Skip(args ...any) {
	r.skipped = args[0].(string)
	runtime.Goexit()
}

func (r *recorder) Fatal(args ...any) {
	r.failed = args[0].(string)
	runtime.Goexit()
}

// record runs f as a test would.
func record(f func(t testing.TB)) *recorder {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(r)
	}()
	<-done
	return r
}

func TestProgramThatIsMissing(t *testing.T) {
	const want = "needs no-such-program; to get it: scripts/need no-such-program"
	need := func(t testing.TB) { Program(t, "no-such-program") }

	t.Setenv("CI", "")
	t.Setenv("REQUIRE", "")
	if r := record(need); r.skipped != want || r.failed != "" {
		t.Errorf("skipped %q, failed %q; want the test skipped with %q", r.skipped, r.failed, want)
	}
	for variable, value := range map[string]string{"CI": "true", "REQUIRE": "all"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, value)
			if r := record(need); r.failed != want || r.skipped != "" {
				t.Errorf("skipped %q, failed %q; want the test failed with %q", r.skipped, r.failed, want)
			}
		})
	}
}

func TestProgramWithAnotherName(t *testing.T) {
	dir := t.TempDir()
	browser := filepath.Join(dir, "google-chrome")
	if err := os.WriteFile(browser, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	var got string
	r := record(func(t testing.TB) { got = Program(t, "chromium") })
	if got != browser {
		t.Errorf("found %q, skipped %q, failed %q; want %q", got, r.skipped, r.failed, browser)
	}
}
