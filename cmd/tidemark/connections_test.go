package main

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// A connection limit that is negative or has no effect stops the start.
func TestBadConnectionLimits(t *testing.T) {
	t.Parallel()
	for flag, want := range map[string]string{
		"--max-connections=-1":             "want 1 or more",
		"--max-connections-per-address=-1": "want 1 or more",
		"--max-connections-per-user=-1":    "want 1 or more",
		"--max-connections-per-user=5":     "no effect without tokens",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir(), flag)
		if name, _, _ := strings.Cut(flag, "="); code != exitUsage || !strings.Contains(stderr, want) || !strings.Contains(stderr, name) || len(lines(stderr)) != 1 {
			t.Errorf("%s: exit code %d, want %d and the reason:\n%s", flag, code, exitUsage, stderr)
		}
	}
	_, hash := newKey(t)
	if _, _, code := tidemark.Run(t, program.Options{}, "serve", "--listen=127.0.0.1:0", "--data", t.TempDir(), "--max-connections-per-user=5", "--auth-key", hash+"=subscribe:*"); code != exitUsage {
		t.Errorf("a limit for users with API keys only: exit code %d, want %d", code, exitUsage)
	}
}
