package access

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/tidemark/tidemark/streams"
)

// Verify accepts no token except the one that was signed with the secret.
func FuzzToken(f *testing.F) {
	good := sign(f, jwt.SigningMethodHS256, secret, goodClaims(nil), "")
	parts := strings.Split(good, ".")
	for _, seed := range []string{good, "", "..", parts[0] + "." + parts[1] + ".", "eyJhbGciOiJub25lIn0." + parts[1] + ".", keyPrefix + "x"} {
		f.Add(seed)
	}
	v := open(f, Options{Secrets: [][]byte{secret}})
	f.Fuzz(func(t *testing.T, text string) {
		g, err := v.Verify(t.Context(), text)
		if (g == nil) == (err == nil) {
			t.Fatalf("%v, %v", g, err)
		}
		if err == nil && text != good {
			t.Fatalf("%q was accepted", text)
		}
	})
}

// A claim is accepted whole or not at all, and allows only rooms that its patterns match.
func FuzzClaim(f *testing.F) {
	for _, seed := range []string{`{}`, `{"subscribe":["chat:*","@{sub}"],"publish":["chat:*"],"presence":[],"admin":false}`, `{"publish":["*"]}`, `null`, `[]`, `{"publish":[""]}`} {
		f.Add(seed, "ann", "chat:1")
	}
	f.Fuzz(func(t *testing.T, text, user, name string) {
		var s Scopes
		room, err := streams.ParseRoom(name)
		if err != nil || json.Unmarshal([]byte(text), &s) != nil {
			return
		}
		g, err := newGrant(user, user, &s, time.Time{})
		if err != nil {
			return
		}
		if g.Allows(Publish, room) && !slices.ContainsFunc(s.Publish, func(p string) bool {
			return strings.Contains(p, "*") || strings.ReplaceAll(p, subWord, user) == name
		}) {
			t.Fatalf("%s lets %q publish to %q", text, user, name)
		}
	})
}

// checkPattern accepts every pattern that matches a room, and a room's name is a pattern
// that matches only that room.
func FuzzPattern(f *testing.F) {
	f.Add("chat:*", "chat:1")
	f.Add("{sub}", "$all")
	f.Add("***", "@ann")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		room, err := streams.ParseRoom(name)
		if err != nil {
			return
		}
		if checkPattern(name) != nil {
			t.Fatalf("the room name %q is not accepted as a pattern", name)
		}
		if !strings.Contains(pattern, "*") && room.Matches(pattern) != (pattern == name) {
			t.Fatalf("%q matches %q", name, pattern)
		}
		if room.Matches(pattern) && len(pattern) <= maxPattern && checkPattern(pattern) != nil {
			t.Fatalf("%q matches %q, which is not accepted as a pattern", name, pattern)
		}
	})
}

// ParseKey accepts only entries with a complete hash and at least one scope.
func FuzzKey(f *testing.F) {
	_, hash := NewKey()
	f.Add(hash.String() + "=publish:chat:* admin")
	f.Add("=")
	f.Add(strings.Repeat("0", 64) + "=subscribe:*")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseKey(text)
		if err != nil {
			return
		}
		if !strings.EqualFold(text[:64], k.Hash.String()) || k.Scopes.Check() != nil {
			t.Fatalf("%q: %+v", text, k)
		}
		if s := k.Scopes; !s.Admin && len(s.Subscribe)+len(s.Publish)+len(s.Presence) == 0 {
			t.Fatalf("%q allows nothing", text)
		}
	})
}

// parseJWKS returns at least one key or an error, and never a symmetric key.
func FuzzKeySet(f *testing.F) {
	text, err := json.Marshal(map[string]any{"keys": []any{jwk(f, issuers()["ES256"]), jwk(f, issuers()["EdDSA"])}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := parseJWKS(text)
		if err == nil && len(keys) == 0 {
			t.Fatal("neither a key nor an error")
		}
		for _, k := range keys {
			if len(k.methods) == 0 || strings.HasPrefix(k.methods[0], "HS") {
				t.Fatalf("a key for %v", k.methods)
			}
		}
	})
}
