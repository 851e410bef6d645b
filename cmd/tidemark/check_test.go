package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// config check prints each setting with the source of its value.
func TestConfigCheckShowsSources(t *testing.T) {
	t.Parallel()
	file := configure(t, "node: file\nmax-data: 1000\nretain: ['chat.*=5000,7d', a=0]\n")
	o := program.Options{Env: []string{"TIDEMARK_MAX_DATA=2000", "TIDEMARK_KEY_LIFE=2d"}}
	stdout := tidemark.Must(t, o, "config", "check", "--config", file, "--redis-prefix=flag")
	for setting, want := range map[string]string{
		"node":         "node file " + file + ":1",
		"max-data":     "max-data 2000 $TIDEMARK_MAX_DATA",
		"retain":       "retain chat.*=5000,168h0m0s; a=0,24h0m0s " + file + ":3",
		"key-life":     "key-life 48h0m0s $TIDEMARK_KEY_LIFE",
		"redis-prefix": "redis-prefix flag command line",
		"listen":       "listen 127.0.0.1:8080 default",
		"redis":        "redis - default",
		"ok:":          "ok: a node would start with this",
	} {
		if got := lineOf(stdout, setting); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// lineOf returns the line of text with the given first word. Its words are separated by one
// space.
func lineOf(text, word string) string {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 && words[0] == word {
			return strings.Join(words, " ")
		}
	}
	return ""
}

// config check reports all problems that serve can find without the network, including those
// in files.
func TestConfigCheckFindsProblems(t *testing.T) {
	t.Parallel()
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, at := range map[string]struct{ args, wants []string }{
		"several":          {[]string{"--max-data=0", "--redis-ca=x", "--listen=:8080"}, []string{"--max-data", "--redis is not", "--insecure"}},
		"exposed":          {[]string{"--listen=192.0.2.1:80"}, []string{"--insecure"}},
		"not an address":   {[]string{"--listen=8080"}, []string{"HOST:PORT"}},
		"no such port":     {[]string{"--listen=127.0.0.1:80800"}, []string{"--listen 127.0.0.1:80800", "port"}},
		"short secret":     {[]string{"--auth-secret-file", short}, []string{"at least 32"}},
		"no secret":        {[]string{"--auth-secret-file=/nowhere/secret"}, []string{"/nowhere/secret"}},
		"no key":           {[]string{"--auth-public-key-file", short}, []string{"no PEM block"}},
		"no key set":       {[]string{"--auth-jwks-url=/etc/keys"}, []string{"an https:// URL"}},
		"two kinds":        {[]string{"--auth-secret=" + testSecret, "--auth-jwks-url=https://localhost/"}, []string{"one of a secret"}},
		"not a URL":        {[]string{"--redis=localhost"}, []string{"scheme"}},
		"no password":      {[]string{"--redis=redis://localhost", "--redis-password-file=/nowhere/password"}, []string{"/nowhere/password"}},
		"no authority":     {[]string{"--redis=rediss://localhost", "--redis-ca", short}, []string{short}},
		"no replicas":      {[]string{"--durability=replicated"}, []string{"not have replicas"}},
		"no directory":     {[]string{"--data", short}, []string{"not a directory"}},
		"below no file":    {[]string{"--data", short + "/data"}, []string{short}},
		"profiles":         {[]string{"--pprof-listen=:6060"}, []string{"not a loopback"}},
		"unknown key":      {[]string{"--config", configure(t, "lissten: x")}, []string{`did you mean "listen"?`}},
		"no such flag":     {[]string{"--lisen=x"}, []string{`did you mean "--listen"?`}},
		"not a value":      {[]string{"--key-life=soon"}, []string{"not an age"}},
		"no configuration": {[]string{"--config=/nowhere.yaml"}, []string{"/nowhere.yaml"}},
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, append([]string{"config", "check"}, at.args...)...)
		if code != exitUsage {
			t.Errorf("%s: exit code %d, want %d:\n%s", name, code, exitUsage, stderr)
		}
		for _, want := range at.wants {
			if !strings.Contains(stderr, want) {
				t.Errorf("%s: want %q:\n%s", name, want, stderr)
			}
		}
	}
}

// config check connects to neither Redis nor a key set, and makes no data directory.
func TestConfigCheckUsesNoNetwork(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "not", "there", "yet")
	for _, args := range [][]string{
		{"--redis=redis://192.0.2.1:6379", "--listen=:8080", "--auth-jwks-url=https://192.0.2.1/keys"},
		{"--data", data},
	} {
		tidemark.Must(t, program.Options{}, append([]string{"config", "check"}, args...)...)
	}
	if _, err := os.Stat(data); !os.IsNotExist(err) {
		t.Errorf("the data directory: %v, want that it does not exist", err)
	}
}

// config check prints no secret, even if it stands in the wrong place.
func TestConfigCheckKeepsSecrets(t *testing.T) {
	t.Parallel()
	const secret = "0123456789-0123456789-0123456789"
	key, hash := newKey(t)
	for _, env := range [][]string{
		{"TIDEMARK_AUTH_SECRET=" + secret},
		{"TIDEMARK_REDIS=redis://tidemark:" + secret + "@127.0.0.1:6379/0"},
		{"TIDEMARK_REDIS=redis+sentinel://127.0.0.1/0?master_name=m&sentinel_password=" + secret},
		{"TIDEMARK_AUTH_JWKS_URL=https://example.test/keys?token=" + secret},
		{"TIDEMARK_AUTH_KEY=" + key + "=admin"}, // the key instead of its hash
		{"TIDEMARK_AUTH_KEY=" + hash + "=admin", "TIDEMARK_SECRET=" + secret},
		{"TIDEMARK_REDIS=127.0.0.1://" + secret + "@"},
		{"TIDEMARK_REDIS=redis://:a b" + secret + "@127.0.0.1"}, // a URL may have a space
		{"TIDEMARK_REDIS=tidemark:" + secret + "@127.0.0.1:6379"},
		{"TIDEMARK_REDIS=redis:/:" + secret + "@127.0.0.1:6379"},
		{"TIDEMARK_REDIS=redis://127.0.0.1?Password=" + secret},
		{"TIDEMARK_REDIS=redis+sentinel://127.0.0.1/0?master_name=m&sentinel_password=a b" + secret},
	} {
		stdout, stderr, _ := tidemark.Run(t, program.Options{Env: env}, "config", "check")
		if all := stdout + stderr; strings.Contains(all, secret) || strings.Contains(all, key) || all == "" {
			t.Errorf("with %s:\n%s", env, all)
		}
	}
}

// config check and a node warn of a variable that looks like a setting. Variables that a
// container platform sets cause no warning.
func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	o := program.Options{Env: []string{
		"TIDEMARK_LISSTEN=x", "TIDEMARK_URL=http://example.test", "TIDEMARKS=x",
		"TIDEMARK_SERVICE_HOST=10.0.0.1", "TIDEMARK_SERVICE_PORT_HTTP=80", "TIDEMARK_PORT=tcp://10.0.0.1:80", "TIDEMARK_PORT_80_TCP_ADDR=10.0.0.1",
	}}
	_, stderr, code := tidemark.Run(t, o, "config", "check")
	if want := "TIDEMARK_LISSTEN is not a setting: did you mean TIDEMARK_LISTEN?"; code != exitOK || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
		t.Errorf("exit code %d, want %d and one line with %q:\n%s", code, exitOK, want, stderr)
	}
	s := tidemark.Serve(t, o, "--data", t.TempDir())
	if log := s.Stderr.String(); strings.Count(log, "TIDEMARK_LISSTEN") != 1 || strings.Contains(log, "TIDEMARK_PORT") {
		t.Errorf("want one line about TIDEMARK_LISSTEN:\n%s", log)
	}
}

// A certificate that expires soon causes a warning.
func TestConfigCheckWarnsOfExpiry(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	_, stderr, code := tidemark.Run(t, program.Options{}, "config", "check", "--redis=rediss://127.0.0.1", "--redis-ca", certs.CA)
	if code != exitOK || !strings.Contains(stderr, "warning: --redis-ca") {
		t.Errorf("exit code %d, want %d and a warning:\n%s", code, exitOK, stderr)
	}
}
