package access

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A TokenSpec is a token to be made.
type TokenSpec struct {
	Subject  string // the user; may be empty
	Issuer   string // may be empty
	Audience string // may be empty
	Life     time.Duration
	Scopes   Scopes
}

// Mint makes a token, signed by HS256. It is for trying: in earnest tokens are made
// by whoever knows the users.
func Mint(secret []byte, d TokenSpec) (string, error) {
	s, err := secretSigner(secret)
	if err != nil {
		return "", err
	}
	if err := d.Scopes.Check(); err != nil {
		return "", err
	}
	now := time.Now()
	said := claims{Tidemark: d.Scopes, RegisteredClaims: jwt.RegisteredClaims{
		Subject: d.Subject, Issuer: d.Issuer,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(d.Life)),
	}}
	if d.Audience != "" {
		said.Audience = jwt.ClaimStrings{d.Audience}
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, said).SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return text, nil
}
