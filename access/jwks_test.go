package access

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// jwk returns an issuer's public key as an entry of a key set.
func jwk(t testing.TB, i issuer) map[string]string {
	t.Helper()
	text := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	switch key := i.key.(type) {
	case *rsa.PrivateKey:
		return map[string]string{"kty": "RSA", "kid": i.id, "use": "sig", "alg": "RS256",
			"n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}
	case *ecdsa.PrivateKey:
		public, err := key.PublicKey.Bytes() // 4, x, y
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"kty": "EC", "kid": i.id, "crv": "P-256", "x": text(public[1:33]), "y": text(public[33:])}
	case ed25519.PrivateKey:
		return map[string]string{"kty": "OKP", "kid": i.id, "crv": "Ed25519", "x": text(key.Public().(ed25519.PublicKey))}
	}
	t.Fatal("unknown kind of key")
	return nil
}

// A keyServer serves a key set over HTTP and counts the requests.
type keyServer struct {
	*httptest.Server
	reads atomic.Int32

	mu     sync.Mutex // guards the fields below
	status int
	body   string
}

func serveKeys(t testing.TB, keys ...map[string]string) *keyServer {
	t.Helper()
	s := &keyServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reads.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(s.status)
		_, _ = w.Write([]byte(s.body))
	}))
	t.Cleanup(s.Close)
	s.serve(t, keys...)
	return s
}

func (s *keyServer) serve(t testing.TB, keys ...map[string]string) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	s.answer(http.StatusOK, string(text))
}

func (s *keyServer) answer(status int, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status, s.body = status, body
}

// openKeys returns a Verifier for the server's keys with a pause of 1 ms between reads.
func openKeys(t testing.TB, s *keyServer) *Verifier {
	t.Helper()
	v := open(t, Options{JWKS: s.URL})
	setPause(v, time.Millisecond)
	return v
}

// setPause sets the minimum age of a read before a token causes another one.
func setPause(v *Verifier, pause time.Duration) {
	j := v.source.(*jwks)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pause = pause
}

func TestKeySet(t *testing.T) {
	s := serveKeys(t, jwk(t, issuers()["RS256"]), jwk(t, issuers()["ES256"]), jwk(t, issuers()["EdDSA"]))
	v := openKeys(t, s)
	for name, i := range issuers() {
		for _, id := range []string{i.id, ""} {
			if _, err := v.Verify(t.Context(), sign(t, i.method, i.key, goodClaims(nil), id)); err != nil {
				t.Errorf("%s, kid %q: %v", name, id, err)
			}
		}
		if _, err := v.Verify(t.Context(), sign(t, i.method, i.key, goodClaims(nil), "x")); !errors.Is(err, ErrCredential) {
			t.Errorf("%s of another kid: %v", name, err)
		}
	}
	if n := s.reads.Load(); n < 2 {
		t.Errorf("the set was read %d times, want a second read for the unknown kid", n)
	}
}

// A new key is found by the first token that names it, and a removed key is rejected
// after that read.
func TestKeysAreReplaced(t *testing.T) {
	r, e := issuers()["RS256"], issuers()["ES256"]
	s := serveKeys(t, jwk(t, r))
	v := openKeys(t, s)
	if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), r.id)); err != nil {
		t.Fatal(err)
	}
	s.serve(t, jwk(t, e))
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := v.Verify(t.Context(), sign(t, e.method, e.key, goodClaims(nil), e.id))
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), r.id)); !errors.Is(err, ErrCredential) {
		t.Errorf("a removed key: %v", err)
	}
}

// Tokens with unknown key ids cause at most one more read of the set within the pause.
func TestUnknownKeyIDsCauseFewReads(t *testing.T) {
	r := issuers()["RS256"]
	s := serveKeys(t, jwk(t, r))
	v := open(t, Options{JWKS: s.URL}) // with the real pause
	if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), r.id)); err != nil {
		t.Fatal(err)
	}
	token := sign(t, r.method, r.key, goodClaims(nil), "x")
	for range 100 {
		if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrCredential) {
			t.Fatal(err)
		}
	}
	if n := s.reads.Load(); n > 2 {
		t.Errorf("the set was read %d times", n)
	}
}

// Until the first successful read, Verify returns ErrUnavailable. After it, the keys
// stay valid while the server fails.
func TestKeyServerFails(t *testing.T) {
	r := issuers()["RS256"]
	s := serveKeys(t, jwk(t, r))
	for _, wrong := range []struct {
		status int
		body   string
	}{{500, ""}, {302, ""}, {200, "{"}, {200, `{"keys":[]}`}, {200, strings.Repeat(" ", maxJWKS+1)}} {
		s.answer(wrong.status, wrong.body)
		v := openKeys(t, s)
		if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), r.id)); !errors.Is(err, ErrUnavailable) {
			t.Errorf("%d %.20q: %v, want ErrUnavailable", wrong.status, wrong.body, err)
		}
		v.Close()
	}
	s.serve(t, jwk(t, r))
	v := openKeys(t, s)
	good := sign(t, r.method, r.key, goodClaims(nil), r.id)
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	s.answer(500, "")
	if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), "x")); !errors.Is(err, ErrCredential) {
		t.Error(err)
	}
	if _, err := v.Verify(t.Context(), good); err != nil {
		t.Errorf("while the server fails: %v", err)
	}
}

// A read that a token causes and that fails is logged, and repeated without another token.
func TestFailedReadForATokenIsRepeated(t *testing.T) {
	r, e := issuers()["RS256"], issuers()["ES256"]
	s := serveKeys(t, jwk(t, r))
	var logged bytes.Buffer
	v := open(t, Options{JWKS: s.URL, Logger: slog.New(slog.NewTextHandler(&logged, nil))})
	if _, err := v.Verify(t.Context(), sign(t, r.method, r.key, goodClaims(nil), r.id)); err != nil {
		t.Fatal(err)
	}
	s.answer(500, "")
	setPause(v, 0)
	token := sign(t, e.method, e.key, goodClaims(nil), e.id)
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrCredential) {
		t.Fatalf("while the server fails: %v", err)
	}
	setPause(v, time.Hour) // from here on, no token causes a read
	s.serve(t, jwk(t, r), jwk(t, e))
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := v.Verify(t.Context(), token); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("20 s after the server has recovered: %v", err)
		}
	}
	v.Close()
	if !strings.Contains(logged.String(), "cannot read the key set") {
		t.Errorf("the log has no warning: %q", &logged)
	}
}

// Verify stops waiting for the keys when the request's context ends or the Verifier closes.
func TestWaitingEnds(t *testing.T) {
	hold := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(hold)
	v := open(t, Options{JWKS: s.URL})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	token := sign(t, jwt.SigningMethodRS256, issuers()["RS256"].key, goodClaims(nil), "r")
	if _, err := v.Verify(ctx, token); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
	v.Close()
	if _, err := v.Verify(t.Context(), token); !errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}

// Symmetric keys, keys for encryption and unsupported keys of a set are skipped.
func TestKeySetSkipsUnusableKeys(t *testing.T) {
	r := jwk(t, issuers()["RS256"])
	r["use"] = "enc"
	e := jwk(t, issuers()["ES256"])
	e["alg"] = "ES512"
	text, err := json.Marshal(map[string]any{"keys": []map[string]string{
		r, e, {"kty": "oct", "k": base64.RawURLEncoding.EncodeToString(secret)}, {"kty": "none"}, {},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if keys, err := parseJWKS(text); err == nil {
		t.Errorf("%d keys were accepted", len(keys))
	}
}
