package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/tests/program"
)

const testSecret = "a secret of thirty-two bytes, or more"

// secretFile writes a secret to a file, with a line break at the end as editors do.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// mint returns a token made by the command token.
func mint(t *testing.T, secret string, args ...string) string {
	t.Helper()
	return strings.TrimSpace(tidemark.Must(t, program.Options{}, append([]string{"token", "--auth-secret-file", secretFile(t, secret)}, args...)...))
}

// newKey returns an API key made by the command key new.
func newKey(t *testing.T) (key, hash string) {
	t.Helper()
	words := strings.Fields(tidemark.Must(t, program.Options{}, "key", "new"))
	if len(words) != 4 || words[0] != "key" || words[2] != "hash" || len(words[3]) != 64 {
		t.Fatalf("key new printed %q", words)
	}
	return words[1], words[3]
}

// with returns the environment of a client of s that sends a token.
func with(s *program.Server, token string) program.Options {
	return program.Options{Env: []string{"TIDEMARK_URL=" + s.URL(), "TIDEMARK_TOKEN=" + token}}
}

// With two secrets, tokens of both are valid and the first one signs new tokens.
func TestReplacingASecret(t *testing.T) {
	t.Parallel()
	const next = "another secret, of thirty-six bytes."
	both := next + "\n" + testSecret
	node := func(secrets string) *program.Server {
		return tidemark.Serve(t, program.Options{}, "--listen=127.0.0.1:0", "--data", t.TempDir(), "--auth-secret-file", secretFile(t, secrets))
	}
	s := node(both)
	for what, token := range map[string]string{
		"old": mint(t, testSecret, "--publish=*"), "new": mint(t, next, "--publish=*"),
	} {
		tidemark.Must(t, with(s, token), "publish", "a", strconv.Quote(what))
	}
	after := node(next)
	tidemark.Must(t, with(after, mint(t, both, "--publish=*")), "publish", "a", "1")
	if _, stderr, _ := tidemark.Run(t, with(after, mint(t, testSecret, "--publish=*")), "publish", "a", "1"); !strings.Contains(stderr, "401") {
		t.Errorf("a token of the removed secret: %q", stderr)
	}
}

// A server with authentication accepts valid tokens and keys, within their scopes. It may
// listen on any address, and its log contains no credential.
func TestTokensAndKeys(t *testing.T) {
	t.Parallel()
	key, hash := newKey(t)
	reader := mint(t, testSecret, "--sub=ann", "--subscribe=chat:*", "--subscribe=of:{sub}")
	stranger := mint(t, strings.Repeat("x", 40), "--sub=ann", "--subscribe=*", "--publish=*", "--admin")
	s := tidemark.Serve(t, program.Options{}, "--listen=0.0.0.0:0", "--data", t.TempDir(), "--log-level=debug",
		"--auth-secret-file", secretFile(t, testSecret), "--auth-key", hash+"=publish:chat:* publish:of:ann")
	must := func(token string, args ...string) string {
		t.Helper()
		return tidemark.Must(t, with(s, token), args...)
	}
	refused := func(want, token string, args ...string) {
		t.Helper()
		_, stderr, code := tidemark.Run(t, with(s, token), args...)
		if code != exitFailed || !strings.Contains(stderr, want) {
			t.Errorf("%v: exit code %d, want %d and %q:\n%s", args, code, exitFailed, want, stderr)
		}
	}
	id := strings.TrimSpace(must(key, "publish", "chat:1", "1"))
	must(key, "publish", "of:ann", "2")
	if got := must(reader, "history", "chat:1"); !strings.Contains(got, id) {
		t.Errorf("history does not have %s: %s", id, got)
	}
	must(reader, "history", "of:ann")
	tail := tidemark.Start(t, with(s, reader), "tail", "chat:1", "--since=earliest")
	tail.Stdout.AwaitText(t, id)

	refused("403", key, "publish", "lobby", "1")
	refused("403", key, "history", "chat:1")
	refused("403", reader, "publish", "chat:1", "1")
	refused("403", reader, "tail", "lobby")
	refused("401", stranger, "history", "chat:1")
	refused("401", "", "history", "chat:1")
	refused("401", key+"x", "publish", "chat:1", "1")
	must("", "health")

	for _, token := range []string{reader, stranger, key} {
		res, err := http.Get(s.URL() + "/v1/rooms/chat:1/events?access_token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	for _, secret := range []string{testSecret, key, reader, stranger, "access_token"} {
		if strings.Contains(s.Stderr.String()+s.Stdout.String()+tail.Stderr.String(), secret) {
			t.Errorf("a log contains %q:\n%s", secret, s.Stderr)
		}
	}
}

// The settings of authentication may come from the environment and the file.
func TestAuthSettings(t *testing.T) {
	t.Parallel()
	key, hash := newKey(t)
	token := mint(t, testSecret, "--publish=*", "--auth-issuer=shop", "--auth-audience=tidemark")
	file := configure(t, "auth-issuer: shop\nauth-audience: tidemark\nauth-key:\n  - '"+hash+"=publish:a admin'\ncors-origin: [https://app.example.com]\nauth-cookie: session\n")
	s := tidemark.Serve(t, program.Options{Env: []string{"TIDEMARK_AUTH_SECRET=" + testSecret}}, "--config", file, "--data", t.TempDir())
	tidemark.Must(t, with(s, key), "publish", "a", "1")
	tidemark.Must(t, with(s, token), "publish", "b", "1")
	if _, _, code := tidemark.Run(t, with(s, mint(t, testSecret, "--publish=*")), "publish", "b", "1"); code != exitFailed {
		t.Errorf("a token without an issuer: exit code %d", code)
	}
	r, err := http.NewRequest(http.MethodPost, s.URL()+"/v1/rooms/a/events", strings.NewReader(`{"data":1}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Origin", "https://app.example.com")
	r.AddCookie(&http.Cookie{Name: "session", Value: token})
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusCreated || res.Header.Get("Access-Control-Allow-Origin") != "https://app.example.com" {
		t.Errorf("%s %v", res.Status, res.Header)
	}
}

// The node verifies tokens with a public key from a file or a URL.
func TestPublicKeys(t *testing.T) {
	t.Parallel()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "public.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	set := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":%q}]}`, base64.RawURLEncoding.EncodeToString(public))
	}))
	defer set.Close()
	claims := jwt.MapClaims{"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "tidemark": map[string]any{"publish": []string{"*"}}}
	token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	forged, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range []string{"--auth-public-key-file=" + file, "--auth-jwks-url=" + set.URL} {
		s := tidemark.Serve(t, program.Options{}, flag, "--data", t.TempDir())
		tidemark.Must(t, with(s, token), "publish", "lobby", "1")
		if _, stderr, code := tidemark.Run(t, with(s, forged), "publish", "lobby", "1"); code != exitFailed || !strings.Contains(stderr, "401") {
			t.Errorf("%s: a token with HS256: exit code %d, %s", flag, code, stderr)
		}
	}
}

// A setting that has no effect or is unsafe stops the start with one line, which contains no
// secret.
func TestBadAuthSettings(t *testing.T) {
	t.Parallel()
	_, hash := newKey(t)
	short := secretFile(t, "tooshortasecret")
	for want, args := range map[string][]string{
		"at least 32":              {"--auth-secret-file", short},
		"line 1 has 15 bytes":      {"--auth-secret=tooshortasecret"},
		"can't be used together":   {"--auth-secret=" + testSecret, "--auth-secret-file", short},
		"one of a secret":          {"--auth-secret=" + testSecret, "--auth-jwks-url=https://localhost/"},
		"no PEM block":             {"--auth-public-key-file", short},
		"no effect without tokens": {"--auth-issuer=x", "--auth-key=" + hash + "=admin"},
		"need no token":            {"--auth-cookie=session"},
		"--cors-origin '*'":        {"--auth-cookie=session", "--auth-secret=" + testSecret, "--cors-origin=*"},
		"is not an origin":         {"--cors-origin=app.example.com"},
		"64 hexadecimal digits":    {"--auth-key=abc=admin"},
		"want subscribe:PATTERN":   {"--auth-key=" + hash + "=write:x"},
		"is there twice":           {"--auth-key=" + hash + "=admin", "--auth-key=" + hash + "=publish:*"},
		"an https:// URL":          {"--auth-jwks-url=/etc/keys"},
		"clients need no token":    {"--listen=0.0.0.0:0"},
	} {
		_, stderr, code := tidemark.Run(t, program.Options{}, append([]string{"serve", "--data", t.TempDir()}, args...)...)
		if code != exitUsage || !strings.Contains(stderr, want) || len(lines(stderr)) != 1 {
			t.Errorf("%v: exit code %d, want %d and one line with %q:\n%s", args, code, exitUsage, want, stderr)
		}
		if strings.Contains(stderr, testSecret) || strings.Contains(stderr, "tooshortasecret") {
			t.Errorf("%v: the secret appears in %q", args, stderr)
		}
	}
	for want, args := range map[string][]string{
		"want --auth-secret-file": {"--sub=ann"},
		"not a pattern":           {"--auth-secret=" + testSecret, "--publish=a/b"},
		"not an age":              {"--auth-secret=" + testSecret, "--life=-1h"},
	} {
		if _, stderr, code := tidemark.Run(t, program.Options{}, append([]string{"token"}, args...)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("token %v: exit code %d, %s", args, code, stderr)
		}
	}
}
