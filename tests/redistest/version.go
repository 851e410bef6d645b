package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// program is the name of the server.
const program = "redis-server"

// newerProgram returns a redis-server of 7.2 or later: the one on the PATH, or the one that
// scripts/newer-redis installed.
func newerProgram() (string, error) {
	if atLeast(processVersion(program), 7, 2) {
		return program, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	got := filepath.Join(cache, "tidemark", "newer-redis", program)
	if v := processVersion(got); !atLeast(v, 7, 2) {
		return "", fmt.Errorf("this test needs Redis 7.2 or later: run scripts/newer-redis, or install one on the PATH; %s is %s", program, processVersion(program))
	}
	return exec.LookPath(got)
}

// atLeast compares a version such as 7.0.15.
func atLeast(version string, major, minor int) bool {
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(version, "%d.%d", &haveMajor, &haveMinor); err != nil {
		return false
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor
}

// processVersion returns the v= of "Redis server v=7.0.15 sha=…", or "of unknown version".
func processVersion(program string) string {
	out, err := exec.Command(program, "--version").Output()
	if err == nil {
		for _, word := range strings.Fields(string(out)) {
			if v, ok := strings.CutPrefix(word, "v="); ok {
				return v
			}
		}
	}
	return "of unknown version"
}
