package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/program"
)

// parse parses a command line as the program does.
func parse(t *testing.T, args ...string) (commandLine, error) {
	t.Helper()
	var c commandLine
	parser, err := kong.New(&c, kong.DefaultEnvars(settings.EnvPrefix))
	if err != nil {
		t.Fatal(err)
	}
	_, err = parser.Parse(args)
	return c, err
}

// configure writes a configuration file and returns its name.
func configure(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tidemark.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Flags override the environment, which overrides the file, which overrides the defaults.
// Each source is set together with all sources that it overrides.
func TestPrecedence(t *testing.T) {
	file := configure(t, "node: file\ndata: file\nredis-prefix: file\n")
	t.Setenv("TIDEMARK_NODE", "environment")
	t.Setenv("TIDEMARK_DATA", "environment")
	c, err := parse(t, "serve", "--node=flag", "--config="+file)
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][2]string{
		"node":         {c.Serve.Node, "flag"},
		"data":         {c.Serve.Data, "environment"},
		"redis-prefix": {c.Serve.RedisPrefix, "file"},
		"listen":       {c.Serve.Listen, "127.0.0.1:8080"},
	} {
		if got[0] != got[1] {
			t.Errorf("%s = %q, want %q", name, got[0], got[1])
		}
	}
}

// The environment may name the file. A variable that is set to the empty string counts as
// set.
func TestConfigFromEnvironment(t *testing.T) {
	t.Setenv("TIDEMARK_CONFIG", configure(t, "redis: redis://file\nnode: file\n"))
	t.Setenv("TIDEMARK_REDIS", "")
	c, err := parse(t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if c.Serve.Node != "file" || c.Serve.Redis != "" {
		t.Errorf("node %q, redis %q: want %q, %q", c.Serve.Node, c.Serve.Redis, "file", "")
	}
}

func TestConfigOfEveryKind(t *testing.T) {
	c, err := parse(t, "serve", "--config="+configure(t, `
insecure: true
max-data: 1000
key-life: 2d
log-level: warn
url: http://example.test # a flag of a client: all commands can share a file
retain:
  - 'chat.*=5000,7d'
  - cursor.*=0
`))
	if err != nil {
		t.Fatal(err)
	}
	s := c.Serve
	if !s.Insecure || s.MaxData != 1000 || time.Duration(s.KeyLife) != 48*time.Hour || s.LogLevel.String() != "WARN" {
		t.Errorf("got %+v", s)
	}
	want := []settings.RetentionRule{
		{Pattern: "chat.*", Retention: streams.Retention{Events: 5000, Age: 7 * 24 * time.Hour}},
		{Pattern: "cursor.*", Retention: streams.Retention{Events: 0, Age: service.DefaultRetention().Age}},
	}
	if len(s.Retain) != 2 || s.Retain[0] != want[0] || s.Retain[1] != want[1] {
		t.Errorf("retain %v, want %v", s.Retain, want)
	}
}

func TestRetainFromEnvironment(t *testing.T) {
	t.Setenv("TIDEMARK_RETAIN", "a=1,1h;b=c=2")
	c, err := parse(t, "serve")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Serve.Retain; len(r) != 2 || r[0].Retention.Age != time.Hour || r[1].Pattern != "b=c" || r[1].Retention.Events != 2 {
		t.Errorf("retain %v", r)
	}
}

// A wrong file is refused with its name and line.
func TestBadConfig(t *testing.T) {
	for text, want := range map[string]string{
		"lissten: 1":          `tidemark.yaml:1: unknown key "lissten": did you mean "listen"?`,
		"\nmax_data: 1":       `tidemark.yaml:2: unknown key "max_data": did you mean "max-data"?`,
		"\nmax-data: many":    "tidemark.yaml:2: want a whole number",
		"node: [a, b]":        "tidemark.yaml:1: want one value",
		"node: a\nnode: b":    "already defined",
		"- a list":            "tidemark.yaml",
		"help: true":          "unknown key",
		"retain: [lobby]":     `tidemark.yaml:1: "lobby": want PATTERN=EVENTS,AGE`,
		"retain: {lobby: 10}": "want one value",
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, "serve", "--config", configure(t, text))
		if code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s", text, code, exitUsage, want, stderr)
		}
	}
}
