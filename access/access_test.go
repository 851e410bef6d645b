package access

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"github.com/tidemark/tidemark/streams"
)

// Every goroutine that a test starts must have ended after the last test.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret signs the tests' tokens.
var secret = []byte("a secret of thirty-two bytes, or more")

// An issuer signs tokens.
type issuer struct {
	method jwt.SigningMethod
	key    any // private
	id     string
}

// issuers returns one issuer for each kind of public key. They are created once, because
// generating an RSA key is slow.
var issuers = sync.OnceValue(func() map[string]issuer {
	rsaKey, err1 := rsa.GenerateKey(rand.Reader, minRSA)
	ecKey, err2 := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, edKey, err3 := ed25519.GenerateKey(rand.Reader)
	if err := errors.Join(err1, err2, err3); err != nil {
		panic(err)
	}
	return map[string]issuer{
		"RS256": {jwt.SigningMethodRS256, rsaKey, "r"},
		"ES256": {jwt.SigningMethodES256, ecKey, "e"},
		"EdDSA": {jwt.SigningMethodEdDSA, edKey, "d"},
	}
})

// publicPEM returns the public key of a private key as a PEM block.
func publicPEM(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.(crypto.Signer).Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// goodClaims returns the claims of a valid token for ann, overridden by more.
func goodClaims(more jwt.MapClaims) jwt.MapClaims {
	all := jwt.MapClaims{
		"sub": "ann", "exp": time.Now().Add(time.Hour).Unix(),
		"tidemark": map[string]any{"subscribe": []string{"chat:*"}},
	}
	maps.Copy(all, more)
	return all
}

// sign returns a token with id as its kid, unless id is empty.
func sign(t testing.TB, method jwt.SigningMethod, key any, claims jwt.MapClaims, id string) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	if id != "" {
		token.Header["kid"] = id
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func open(t testing.TB, o Options) *Verifier {
	t.Helper()
	v, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// Tokens of every supported algorithm verify with a key of the matching kind.
func TestEachAlgorithm(t *testing.T) {
	v := open(t, Options{Secrets: [][]byte{secret}})
	for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
		g, err := v.Verify(t.Context(), sign(t, method, secret, goodClaims(nil), ""))
		if err != nil || !g.Allows(Subscribe, "chat:1") {
			t.Errorf("%s: %v", method.Alg(), err)
		}
	}
	for name, i := range issuers() {
		v := open(t, Options{PublicKeys: publicPEM(t, i.key)})
		g, err := v.Verify(t.Context(), sign(t, i.method, i.key, goodClaims(nil), "any"))
		if err != nil || g.Holder() != "ann" || !g.Allows(Subscribe, "chat:1") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A PEM file may contain several keys of several kinds, so that one can be replaced.
func TestSeveralPublicKeys(t *testing.T) {
	var all []byte
	for _, i := range issuers() {
		all = append(all, publicPEM(t, i.key)...)
	}
	v := open(t, Options{PublicKeys: all})
	for name, i := range issuers() {
		if _, err := v.Verify(t.Context(), sign(t, i.method, i.key, goodClaims(nil), "")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token cannot choose how it is verified: not without a signature, not with the public
// key as an HMAC secret, and not with another algorithm of the key's family.
func TestKeyDecidesTheAlgorithm(t *testing.T) {
	r := issuers()["RS256"]
	public := publicPEM(t, r.key)
	v := open(t, Options{PublicKeys: public})
	der, _ := pem.Decode(public)
	for name, token := range map[string]string{
		"none":               sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, goodClaims(nil), ""),
		"HS256 by the PEM":   sign(t, jwt.SigningMethodHS256, public, goodClaims(nil), ""),
		"HS256 by its bytes": sign(t, jwt.SigningMethodHS256, der.Bytes, goodClaims(nil), ""),
		"RS512":              sign(t, jwt.SigningMethodRS512, r.key, goodClaims(nil), ""),
		"PS256":              sign(t, jwt.SigningMethodPS256, r.key, goodClaims(nil), ""),
		"another RS256 key": sign(t, jwt.SigningMethodRS256, func() any {
			k, err := rsa.GenerateKey(rand.Reader, minRSA)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}(), goodClaims(nil), ""),
	} {
		if g, err := v.Verify(t.Context(), token); !errors.Is(err, ErrCredential) || g != nil {
			t.Errorf("%s: %v, want ErrCredential", name, err)
		}
	}
	hmac := open(t, Options{Secrets: [][]byte{secret}})
	for name, token := range map[string]string{
		"none":           sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, goodClaims(nil), ""),
		"RS256":          sign(t, r.method, r.key, goodClaims(nil), ""),
		"another secret": sign(t, jwt.SigningMethodHS256, []byte(strings.Repeat("x", 40)), goodClaims(nil), ""),
	} {
		if _, err := hmac.Verify(t.Context(), token); !errors.Is(err, ErrCredential) {
			t.Errorf("%s against a secret: %v, want ErrCredential", name, err)
		}
	}
}

// A token with a critical extension (crit) is rejected, because none is supported.
func TestCriticalExtension(t *testing.T) {
	v := open(t, Options{Secrets: [][]byte{secret}})
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, goodClaims(nil))
	token.Header["crit"] = []string{"b64"}
	text, err := token.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), text); !errors.Is(err, ErrCredential) {
		t.Errorf("%v, want ErrCredential", err)
	}
}

// Expiry, not-before time, issuer, audience and the tidemark claim are checked.
func TestClaims(t *testing.T) {
	v := open(t, Options{Secrets: [][]byte{secret}, Issuer: "shop", Audience: "tidemark"})
	good := func(more jwt.MapClaims) jwt.MapClaims {
		all := goodClaims(jwt.MapClaims{"iss": "shop", "aud": "tidemark"})
		maps.Copy(all, more)
		return all
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		claims jwt.MapClaims
		want   error
	}{
		"good":               {good(nil), nil},
		"several audiences":  {good(jwt.MapClaims{"aud": []string{"x", "tidemark"}}), nil},
		"expired a day ago":  {good(jwt.MapClaims{"exp": now.Add(-24 * time.Hour).Unix()}), ErrExpired},
		"expired just now":   {good(jwt.MapClaims{"exp": now.Add(-time.Second).Unix()}), ErrExpired},
		"no exp":             {good(jwt.MapClaims{"exp": nil}), ErrCredential},
		"exp is no number":   {good(jwt.MapClaims{"exp": "tomorrow"}), ErrCredential},
		"not yet":            {good(jwt.MapClaims{"nbf": now.Add(time.Hour).Unix()}), ErrCredential},
		"a clock ahead":      {good(jwt.MapClaims{"nbf": now.Add(leeway / 2).Unix()}), nil},
		"another issuer":     {good(jwt.MapClaims{"iss": "shop2"}), ErrCredential},
		"no issuer":          {good(jwt.MapClaims{"iss": nil}), ErrCredential},
		"another audience":   {good(jwt.MapClaims{"aud": "x"}), ErrCredential},
		"no audience":        {good(jwt.MapClaims{"aud": nil}), ErrCredential},
		"a claim of strings": {good(jwt.MapClaims{"tidemark": "chat:*"}), ErrCredential},
		"a bad pattern":      {good(jwt.MapClaims{"tidemark": map[string]any{"publish": []string{"a/b"}}}), ErrCredential},
		"no claim":           {good(jwt.MapClaims{"tidemark": nil}), nil},
	} {
		g, err := v.Verify(t.Context(), sign(t, jwt.SigningMethodHS256, secret, tt.claims, ""))
		if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) || (g == nil) != (err != nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}

// Text that is not a valid credential is rejected, and the error does not quote it.
func TestInvalidCredentials(t *testing.T) {
	key, hash := NewKey()
	v := open(t, Options{Secrets: [][]byte{secret}, Keys: []Key{{Hash: hash, Scopes: Scopes{Publish: []string{"*"}}}}})
	token := sign(t, jwt.SigningMethodHS256, secret, goodClaims(nil), "")
	parts := strings.Split(token, ".")
	for _, text := range []string{
		"", ".", "..", "...", "x", token + "x", token[:len(token)-1], parts[0] + "." + parts[1] + ".", parts[0] + ".." + parts[2],
		key + "x", key[:len(key)-1], keyPrefix, hash.String(), strings.Repeat("a", MaxCredential+1),
		base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","alg":"none"}`)) + "." + parts[1] + ".",
	} {
		g, err := v.Verify(t.Context(), text)
		if !errors.Is(err, ErrCredential) || g != nil {
			t.Errorf("%.60q: %v", text, err)
		} else if len(text) > 8 && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats the credential: %v", err)
		}
	}
}

func TestKeys(t *testing.T) {
	key, hash := NewKey()
	other, _ := NewKey()
	k, err := ParseKey(hash.String() + "=publish:chat:* publish:news  subscribe:@* presence:lobby admin")
	if err != nil {
		t.Fatal(err)
	}
	v := open(t, Options{Keys: []Key{k}})
	g, err := v.Verify(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		action Action
		room   streams.Room
		want   bool
	}{
		{Publish, "chat:1", true}, {Publish, "news", true}, {Publish, "other", false}, {Publish, "@ann", false},
		{Subscribe, "@ann", true}, {Subscribe, "chat:1", false}, {Subscribe, streams.BroadcastRoom, true},
		{Presence, "lobby", true}, {Presence, "chat:1", false}, {Administer, "", true},
	} {
		if got := g.Allows(tt.action, tt.room); got != tt.want {
			t.Errorf("%v %s: %t", tt.action, tt.room, got)
		}
	}
	if g.User() != "" || g.Inbox() != "" || !strings.HasPrefix(g.Holder(), "key ") || !g.Expires().IsZero() {
		t.Errorf("%q %q %q %v", g.User(), g.Inbox(), g.Holder(), g.Expires())
	}
	for _, text := range []string{other, hash.String(), sign(t, jwt.SigningMethodHS256, secret, goodClaims(nil), "")} {
		if _, err := v.Verify(t.Context(), text); !errors.Is(err, ErrCredential) {
			t.Errorf("%.12q…: %v", text, err)
		}
	}
}

func TestParseKeyRejects(t *testing.T) {
	_, hash := NewKey()
	h := hash.String()
	for _, text := range []string{
		"", h, h + "=", h + "=  ", h[1:] + "=admin", h + "0=admin", "z" + h[1:] + "=admin", h + "=publish", h + "=publish:",
		h + "=write:*", h + "=publish:a/b", h + "=publish:@{sub}", h + "=Admin", "=admin",
	} {
		if _, err := ParseKey(text); err == nil {
			t.Errorf("%.80q was accepted", text)
		}
	}
}

func TestOpenRejects(t *testing.T) {
	_, hash := NewKey()
	key := Key{Hash: hash, Scopes: Scopes{Admin: true}}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(issuers()["ES256"].key)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]Options{
		"nothing":         {},
		"a short secret":  {Secrets: [][]byte{secret[:MinSecret-1]}},
		"two sources":     {Secrets: [][]byte{secret}, JWKS: "https://localhost/"},
		"no PEM":          {PublicKeys: []byte("hello")},
		"a short RSA key": {PublicKeys: publicPEM(t, small)},
		"another curve":   {PublicKeys: publicPEM(t, p384)},
		"a private key":   {PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})},
		"another block":   {PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "MESSAGE", Bytes: private})},
		"a broken block":  {PublicKeys: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: private})},
		"no URL":          {JWKS: "keys.json"},
		"a file":          {JWKS: "file:///etc/passwd"},
		"a key twice":     {Keys: []Key{key, key}},
		"a bad pattern":   {Keys: []Key{{Hash: hash, Scopes: Scopes{Publish: []string{" "}}}}},
	} {
		if v, err := Open(o); err == nil {
			v.Close()
			t.Errorf("%s was accepted", name)
		}
	}
}

// Verify accepts the tokens that Mint makes.
func TestMint(t *testing.T) {
	v := open(t, Options{Secrets: [][]byte{secret}, Issuer: "i", Audience: "a"})
	text, err := Mint(secret, TokenSpec{Subject: "ann", Issuer: "i", Audience: "a", Life: time.Minute, Scopes: Scopes{Publish: []string{"x:{sub}"}, Admin: true}})
	if err != nil {
		t.Fatal(err)
	}
	g, err := v.Verify(t.Context(), text)
	if err != nil || !g.Allows(Publish, "x:ann") || g.Allows(Publish, "x:bob") || !g.Allows(Administer, "") {
		t.Errorf("%+v %v", g, err)
	}
	if _, err := Mint(secret, TokenSpec{Scopes: Scopes{Publish: []string{"a b"}}}); err == nil {
		t.Error("a bad pattern was accepted")
	}
	if _, err := Mint([]byte("short"), TokenSpec{}); err == nil {
		t.Error("a short secret was accepted")
	}
}

// No two actions share a name.
func TestActionNames(t *testing.T) {
	var names []string
	for a := range actions {
		names = append(names, a.String())
	}
	if slices.Sort(names); len(slices.Compact(names)) != int(actions) {
		t.Errorf("%v", names)
	}
}
