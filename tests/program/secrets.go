package program

import (
	"net/url"
	"os"
	"strings"
	"testing"
)

// minSecret is the minimum length of a secret to look for: shorter ones may be ordinary
// words of a log.
const minSecret = 8

// keepsSecrets fails the test if a log contains a secret: a token or key, the URL parameter
// of a token, or one of the process's own secrets.
func keepsSecrets(t testing.TB, log string, secrets []string) {
	t.Helper()
	for _, secret := range append(secrets, "eyJ", "tmk_", "access_token") {
		if at := strings.Index(log, secret); at >= 0 {
			line := log[strings.LastIndexByte(log[:at], '\n')+1:]
			line, _, _ = strings.Cut(line, "\n")
			t.Errorf("a log contains the secret %q: %s", secret, line)
		}
	}
}

// secretsOf returns the secrets in a process's environment and arguments, and in the files
// they name.
func secretsOf(t testing.TB, o Options, args []string) (secrets []string) {
	t.Helper()
	add := func(name, value string) {
		switch {
		case name == "redis":
			if u, err := url.Parse(value); err == nil && u.User != nil {
				password, _ := u.User.Password()
				secrets = append(secrets, password)
			}
		case name == "tls-key" || strings.HasSuffix(name, "-secret-file") || strings.HasSuffix(name, "-password-file"):
			text, err := os.ReadFile(value)
			if err != nil {
				return // the process reports the error
			}
			secrets = append(secrets, strings.Split(string(text), "\n")...)
		case strings.HasSuffix(name, "secret") || strings.HasSuffix(name, "token"):
			secrets = append(secrets, value)
		}
	}
	for _, v := range o.Env {
		name, value, _ := strings.Cut(v, "=")
		add(strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "TIDEMARK_")), "_", "-"), value)
	}
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		add(name, value)
	}
	kept := secrets[:0]
	for _, secret := range secrets {
		if secret = strings.TrimSpace(secret); len(secret) >= minSecret && !strings.HasPrefix(secret, "-----") {
			kept = append(kept, secret)
		}
	}
	return kept
}
