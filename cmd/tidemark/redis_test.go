package main

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// A node serves from a Redis with mutual TLS, its own user and a password file, all set in the
// configuration file.
func TestServeFromSecuredRedis(t *testing.T) {
	t.Parallel()
	certs := redistest.NewCertificates(t)
	server := certs.StartTLS(t)
	setUser(t, server.Client(), "tidemark", "on", ">s3cret", "~{shop:*", "&{shop:*", "+@all")
	cert, key := certs.Client(t, "node")
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := tidemark.Serve(t, program.Options{}, "--config", configure(t, strings.Join([]string{
		"redis: rediss://tidemark@" + server.TLSAddr,
		"redis-password-file: " + secret,
		"redis-ca: " + certs.CA,
		"redis-cert: " + cert,
		"redis-key: " + key,
		"redis-prefix: shop",
		"redis-timeout: 10s",
		"redis-dial-timeout: 5s",
		"partitions: 3",
	}, "\n")))
	id := strings.TrimSpace(tidemark.Must(t, at(s), "publish", "lobby", "1"))
	if got := tidemark.Must(t, at(s), "history", "lobby"); !strings.Contains(got, id) {
		t.Errorf("history does not have %s: %q", id, got)
	}
	if keys := server.Client().Keys(t.Context(), "{shop:*}:clock").Val(); len(keys) != 3 {
		t.Errorf("clocks %q, want one for each of 3 partitions", keys)
	}
}

func setUser(t *testing.T, admin *redis.Client, rule ...any) {
	t.Helper()
	if err := admin.Do(t.Context(), append([]any{"acl", "setuser"}, rule...)...).Err(); err != nil {
		t.Fatal(err)
	}
}

// An error that waiting can't repair stops the start, with one line that says what to do and
// does not contain the password.
func TestStartRefused(t *testing.T) {
	t.Parallel()
	const secret = "hunter2SECRET"
	certs := redistest.NewCertificates(t)
	server := certs.StartTLS(t, "--tls-auth-clients", "no")
	setUser(t, server.Client(), "reader", "on", ">"+secret, "~*", "&*", "+@all", "-xadd")
	node := redistest.StartProcess(t, "--cluster-enabled", "yes")
	first := tidemark.Serve(t, program.Options{}, "--redis", server.URL(), "--partitions=2")
	tidemark.Must(t, at(first), "publish", "lobby", "1")

	withUser := func(user, addr string) string {
		return (&url.URL{Scheme: "redis", User: url.UserPassword(user, secret), Host: addr}).String()
	}
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"not a URL":         {[]string{"--redis", "u:" + secret + "@h"}, exitFailed, "scheme"},
		"malformed":         {[]string{"--redis", "redis://u:" + secret + "/@h"}, exitFailed, "%2F"},
		"misplaced":         {[]string{withUser("u", "h")}, exitUsage, "unexpected argument"},
		"wrong password":    {[]string{"--redis", withUser("nobody", server.Addr())}, exitFailed, "WRONGPASS"},
		"may not write":     {[]string{"--redis", withUser("reader", server.Addr())}, exitFailed, "may not run xadd"},
		"a cluster's node":  {[]string{"--redis", node.URL()}, exitFailed, "redis+cluster://"},
		"no cluster":        {[]string{"--redis", "redis+cluster://" + server.Addr()}, exitFailed, "it is no cluster"},
		"other partitions":  {[]string{"--redis", server.URL(), "--partitions=3"}, exitFailed, "2 partitions, this node wants 3"},
		"untrusted":         {[]string{"--redis", "rediss://" + server.TLSAddr}, exitFailed, "unknown authority"},
		"no authority":      {[]string{"--redis", "rediss://" + server.TLSAddr, "--redis-ca", "/nowhere.crt"}, exitFailed, "/nowhere.crt"},
		"no password file":  {[]string{"--redis", server.URL(), "--redis-password-file", "/nowhere"}, exitFailed, "/nowhere"},
		"TLS without Redis": {[]string{"--redis-ca", certs.CA}, exitUsage, "--redis is not"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"serve", "--listen=127.0.0.1:0", "--log-level=error", "--data", t.TempDir()}, c.args...)
			_, stderr, code := tidemark.Run(t, program.Options{}, args...)
			if code != c.code || !strings.Contains(stderr, c.want) || len(lines(stderr)) != 1 || strings.Contains(stderr, secret) {
				t.Errorf("exit code %d, want %d and one line with %q and no password:\n%s", code, c.code, c.want, stderr)
			}
		})
	}
}

// A log at level debug does not contain the password while the node waits for Redis.
func TestLogsHoldNoPassword(t *testing.T) {
	t.Parallel()
	const secret = "hunter2SECRET"
	waiting := tidemark.Serve(t, program.Options{}, "--log-level=debug", "--redis-timeout=500ms",
		"--redis", "redis+sentinel://u:"+secret+"@127.0.0.1:1,127.0.0.1:2?master_name=m&sentinel_password="+secret)
	_, _, _ = tidemark.Run(t, at(waiting), "health")
	waiting.Kill()
	if log := waiting.Stderr.String(); strings.Contains(log, secret) || !strings.Contains(log, "the node is not ready and tries again") {
		t.Errorf("want a line about waiting and no password:\n%s", log)
	}
}
