package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/require"
)

// mostExposure is the highest allowed exposure level of the unit: 0 can do nothing, 10
// everything. A unit without hardening has 9.6.
const mostExposure = 1.5

// unit returns the unit with this machine's path of the program.
func unit(t *testing.T) string {
	t.Helper()
	const installed = "/usr/local/bin/tidemark"
	text := read(t, "deploy/systemd/tidemark.service")
	if n := strings.Count(text, "="+installed+" "); n != 2 {
		t.Fatalf("the unit starts %s %d times, want 2", installed, n)
	}
	name := filepath.Join(t.TempDir(), "tidemark.service")
	must(t, os.WriteFile(name, []byte(strings.ReplaceAll(text, "="+installed+" ", "="+tidemark.Path()+" ")), 0o600))
	return name
}

// analyze runs systemd-analyze, and returns its output.
func analyze(t *testing.T, args ...string) string {
	t.Helper()
	require.Program(t, "systemd-analyze")
	cmd := exec.Command("systemd-analyze", append([]string{"--no-pager"}, args...)...)
	cmd.Env = append(cmd.Environ(), "SYSTEMD_COLORS=0")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &out)
	}
	return out.String()
}

// systemd knows each setting of the unit and reports no problem.
func TestUnitIsValid(t *testing.T) {
	t.Parallel()
	name := unit(t)
	for line := range strings.Lines(analyze(t, "verify", "--recursive-errors=no", name)) {
		if strings.Contains(line, "tidemark") {
			t.Error(line)
		}
	}
}

func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	out := analyze(t, "security", "--offline=true", unit(t))
	found := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindStringSubmatch(out)
	if found == nil {
		t.Fatal(out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level > mostExposure {
		t.Errorf("exposure %s, want at most %v:\n%s", found[1], mostExposure, out)
	}
}

// The unit uses existing commands and settings of the program, and systemd waits longer for
// its end than a node takes to drain.
func TestUnitFitsTheProgram(t *testing.T) {
	t.Parallel()
	text := read(t, "deploy/systemd/tidemark.service")
	settings := settingsOf(t)
	for _, found := range regexp.MustCompile(`TIDEMARK_[A-Z_]*[A-Z]`).FindAllString(text, -1) {
		if !settings[found] {
			t.Errorf("the unit names %s, which is no setting", found)
		}
	}
	for _, command := range regexp.MustCompile(`(?m)^Exec\w+=/usr/local/bin/tidemark (.+)$`).FindAllStringSubmatch(text, -1) {
		tidemark.Must(t, program.Options{}, append(strings.Fields(command[1]), "--help")...)
	}
	stop := regexp.MustCompile(`(?m)^TimeoutStopSec=(.+)$`).FindStringSubmatch(text)
	if stop == nil {
		t.Fatal("the unit has no TimeoutStopSec")
	}
	if wait, err := time.ParseDuration(stop[1]); err != nil || wait < leaving+10*time.Second {
		t.Errorf("TimeoutStopSec is %s, %v: a node takes up to %v to leave", stop[1], err, leaving)
	}
}

// leaving is how long a node may take to end: 20 s after the 2 s of --drain-spread. An
// operator who sets --drain-pause must add it.
const leaving = 22 * time.Second

// settingsOf returns the environment variables of all settings, from the program's
// reference.
func settingsOf(t *testing.T) map[string]bool {
	t.Helper()
	settings := map[string]bool{"TIDEMARK_CONFIG": true}
	for _, row := range regexp.MustCompile("(?m)^\\| `--[^|]*\\| `(TIDEMARK_[A-Z_]+)`").
		FindAllStringSubmatch(tidemark.Must(t, program.Options{}, "config", "reference"), -1) {
		settings[row[1]] = true
	}
	if len(settings) < 10 {
		t.Fatalf("only %d settings in the reference", len(settings))
	}
	return settings
}
