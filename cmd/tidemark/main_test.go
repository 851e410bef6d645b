package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
)

// tidemark is the built program. The tests of this package run it as a user would.
var tidemark program.Program

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	p, remove, err := program.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	tidemark = p
	return m.Run()
}

// at returns the environment of a client of s.
func at(s *program.Server) program.Options {
	return program.Options{Env: []string{"TIDEMARK_URL=" + s.URL()}}
}

func lines(s string) []string { return strings.Split(strings.TrimSuffix(s, "\n"), "\n") }

func TestHelpShowsExamples(t *testing.T) {
	t.Parallel()
	for args, wants := range map[string][]string{
		"":               {"Usage: tidemark", "serve", "publish", "tail", "history", "Exit codes", "TIDEMARK_MAX_DATA"},
		"--help":         {"Usage: tidemark"},
		"serve --help":   {"--redis redis://localhost:6379/0", "$TIDEMARK_LISTEN", "127.0.0.1:8080", "SIGTERM"},
		"publish --help": {"tidemark publish lobby --text", "reported with its number"},
		"tail --help":    {"tidemark tail lobby --since 15m", "Ctrl-C"},
		"history --help": {"--newest --limit 10"},
		"doctor --help":  {"tidemark doctor --config", "Event log in Redis:", "Exits with 1"},
	} {
		help := tidemark.Must(t, program.Options{}, strings.Fields(args)...)
		for _, want := range wants {
			if !strings.Contains(help, want) {
				t.Errorf("the help of tidemark %s does not have %q:\n%s", args, want, help)
			}
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	if got := tidemark.Must(t, program.Options{}, "version"); !strings.HasPrefix(got, "tidemark ") || !strings.Contains(got, "go1.") {
		t.Errorf("version printed %q", got)
	}
}

// A wrong command line exits with 2 and one line with the reason.
func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"serve --lisen 1":                   `did you mean "--listen"?`,
		"serve --retain lobby":              "want PATTERN=EVENTS,AGE",
		"serve --key-life soon":             "not an age",
		"serve --max-data 0":                "--max-data",
		"serve --log-format xml":            "must be one of",
		"serve --config /nowhere.yaml":      "/nowhere.yaml",
		"publish ../etc 1":                  "not a room name",
		"publish lobby {":                   "with --text",
		"publish lobby 1 --type tidemark.x": "reserved",
		"tail lobby --since yesterday":      "duration back",
		"tail lobby --last 3 --since 1h":    "can't be used together",
		"history lobby --limit -1":          "--limit",
		"history":                           "room",
		"sing":                              "unexpected argument sing",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, strings.Fields(args)...)
		if code != exitUsage || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("tidemark %s: exit code %d, want %d and one line with %q:\n%s", args, code, exitUsage, want, stderr)
		}
	}
}
