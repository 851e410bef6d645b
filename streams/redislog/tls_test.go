package redislog

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
	"github.com/tidemark/tidemark/tests/redistest"
)

// write returns the name of a new file with that content.
func write(t testing.TB, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// The suite passes over mutual TLS, with the password in a file. The user has only the
// permissions of the rule in docs/redis.md.
func TestPromisesOverMutualTLS(t *testing.T) {
	certs := redistest.NewCertificates(t)
	server := certs.StartTLS(t)
	setUser(t, server.Client(), aclRule(t))
	cert, key := certs.Client(t, "node")
	secret := write(t, "secret\n")
	logtest.Run(t, func(t *testing.T) *logtest.Harness {
		opt := Options{
			URL: "rediss://tidemark@" + server.TLSAddr, PasswordFile: secret, Prefix: newPrefix(), Partitions: 2,
			TLS: TLS{CAFile: certs.CA, CertFile: cert, KeyFile: key},
		}
		h := &logtest.Harness{Log: open(t, opt), Second: open(t, opt)}
		h.Reopen = func() streams.Log {
			_ = h.Log.Close()
			h.Log = open(t, opt)
			return h.Log
		}
		return h
	})
}

// TLS is used for Sentinels, for the primary that they name and for the nodes that a
// Cluster names. Each certificate is checked against its own address.
func TestTLSInEveryTopology(t *testing.T) {
	certs := redistest.NewCertificates(t)
	cert, key := certs.Client(t, "node")
	tls := TLS{CAFile: certs.CA, CertFile: cert, KeyFile: key}

	server := certs.StartTLS(t)
	watcher := certs.StartTLSSentinel(t, server)
	works(t, Options{URL: "rediss+sentinel://" + watcher.TLSAddr + "?master_name=tidemark", TLS: tls})

	node := certs.StartTLS(t, "--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-announce-ip", "127.0.0.1")
	ownAllSlots(t, node.Server)
	works(t, Options{URL: "rediss+cluster://localhost.invalid," + node.TLSAddr, TLS: tls})
}

// If one side of TLS does not trust the other, Open fails.
func TestTLSRejected(t *testing.T) {
	certs, others := redistest.NewCertificates(t), redistest.NewCertificates(t)
	server := certs.StartTLS(t)
	lenient := certs.StartTLS(t, "--tls-auth-clients", "no")
	cert, key := certs.Client(t, "node")
	foreignCert, foreignKey := others.Client(t, "stranger")
	for name, c := range map[string]struct {
		url  string
		tls  TLS
		want string // "" for none
	}{
		"both trusted":                   {"rediss://" + server.TLSAddr, TLS{certs.CA, cert, key, ""}, ""},
		"no client certificate required": {"rediss://" + lenient.TLSAddr, TLS{CAFile: certs.CA}, ""},
		"system's authority":             {"rediss://" + lenient.TLSAddr, TLS{}, "unknown authority"},
		"another authority":              {"rediss://" + lenient.TLSAddr, TLS{CAFile: others.CA}, "unknown authority"},
		"another name":                   {"rediss://" + lenient.TLSAddr, TLS{CAFile: certs.CA, ServerName: "redis.test"}, "redis.test"},
		"no certificate":                 {"rediss://" + server.TLSAddr, TLS{CAFile: certs.CA}, "certificate required"},
		"foreign certificate":            {"rediss://" + server.TLSAddr, TLS{certs.CA, foreignCert, foreignKey, ""}, "unknown certificate authority"},
		"no TLS there":                   {"rediss://" + server.Addr(), TLS{CAFile: certs.CA}, "does not speak TLS"},
		"TLS there":                      {"redis://" + server.TLSAddr, TLS{}, "speaks TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Open(t.Context(), Options{URL: c.url, TLS: c.tls, Prefix: newPrefix(), Logger: quiet()})
			if err == nil {
				err = l.Ping(t.Context()) // Open ignores an unreachable Redis
				_ = l.Close()
				if c.want != "" {
					t.Errorf("Open gives no error, and Ping then %v, want Open's with %q", err, c.want)
				}
			}
			if err != nil && (c.want == "" || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("Open = %v, want an error with %q", err, c.want)
			}
		})
	}
}

// Files must exist, have the right content and go together. Errors name the file.
func TestSettingsRejected(t *testing.T) {
	certs := redistest.NewCertificates(t)
	cert, key := certs.Client(t, "node")
	_, otherKey := certs.Client(t, "other")
	text, empty := write(t, "no PEM\nat all\n"), write(t, "\n")
	huge := write(t, strings.Repeat("x", 4<<10+1))
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	const plain, secure, sentinel = "redis://h", "rediss://h", "redis+sentinel://h?master_name=m"
	for name, c := range map[string]struct {
		opt  Options
		want string
	}{
		"no password file":      {Options{URL: plain, PasswordFile: nowhere}, nowhere},
		"empty password file":   {Options{URL: plain, PasswordFile: empty}, empty + " is empty"},
		"long password file":    {Options{URL: plain, PasswordFile: huge}, "larger than"},
		"password of two lines": {Options{URL: plain, PasswordFile: text}, text + " has more than one line"},
		"password twice":        {Options{URL: "redis://:p@h", PasswordFile: text}, "in the URL and in a file"},
		"user alone":            {Options{URL: "redis://tidemark@h"}, "no password"},
		"Sentinels' user alone": {Options{URL: sentinel + "&sentinel_username=u"}, "no password"},
		"Sentinels' file":       {Options{URL: plain, SentinelPasswordFile: write(t, "p")}, "for redis+sentinel"},
		"TLS files without TLS": {Options{URL: plain, TLS: TLS{CAFile: certs.CA}}, "start with rediss"},
		"no authority":          {Options{URL: secure, TLS: TLS{CAFile: nowhere}}, nowhere},
		"authority not PEM":     {Options{URL: secure, TLS: TLS{CAFile: text}}, text + " has no certificate"},
		"authority a key":       {Options{URL: secure, TLS: TLS{CAFile: key}}, "has no certificate"},
		"certificate alone":     {Options{URL: secure, TLS: TLS{CertFile: cert}}, "go together"},
		"key alone":             {Options{URL: secure, TLS: TLS{KeyFile: key}}, "go together"},
		"no certificate":        {Options{URL: secure, TLS: TLS{CertFile: nowhere, KeyFile: key}}, nowhere},
		"certificate not PEM":   {Options{URL: secure, TLS: TLS{CertFile: text, KeyFile: key}}, text},
		"another's key":         {Options{URL: secure, TLS: TLS{CertFile: cert, KeyFile: otherKey}}, "does not match"},
		"dialling beyond calls": {Options{URL: plain, Timeout: time.Second, DialTimeout: 2 * time.Second}, "dialling"},
	} {
		if _, err := Open(t.Context(), c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, want an error with %q", name, err, c.want)
		}
	}
}

// Errors and log lines contain no password, for any mistake in the URL and any failure of
// the server.
func TestPasswordsStaySecret(t *testing.T) {
	const secret = "hunter2SECRET"
	server := redistest.Shared(t)
	for _, url := range []string{
		"redis://u:" + secret,
		"http://u:" + secret + "@h",
		"redis://u:" + secret + "@h:port",
		"redis://u:" + secret + "/x@h:6379/0",
		"redis://u:" + secret + "%zz@h",
		"redis://u:" + secret + "@h/db?" + secret + "=1",
		"redis://:" + secret + "@h?pool_size=x&timeout=1",
		"redis+sentinel://h?master_name=m&sentinel_password=" + secret,
		"redis+sentinel://h?sentinel_password=" + secret + "&sentinel_password=2",
		"redis+sentinel://h?master_name=m&password=" + secret,
		"redis://:" + secret + "@127.0.0.1:1",
		"rediss://u:" + secret + "@" + server.Addr(),
		"redis://u:" + secret + "@" + server.Addr(),
		"redis+cluster://u:" + secret + "@" + server.Addr() + ",127.0.0.1:1",
		"redis+sentinel://u:" + secret + "@127.0.0.1:1,127.0.0.1:2?master_name=m&sentinel_password=" + secret,
		"unix://u:" + secret + "@/nowhere.sock",
	} {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		l, err := Open(t.Context(), Options{URL: url, Prefix: newPrefix(), Logger: logger, Timeout: time.Second})
		if err == nil {
			err = l.Ping(t.Context())
			_ = l.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", url)
			continue
		}
		if said := err.Error() + log.String(); strings.Contains(said, secret) {
			t.Errorf("%s: the password is in\n%s", url, said)
		}
	}
}
