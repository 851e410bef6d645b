package access

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// A TokenSpec describes a token for Mint.
type TokenSpec struct {
	Subject  string        // the user; may be empty
	Issuer   string        // may be empty
	Audience string        // may be empty
	Life     time.Duration // from now until the token expires
	Scopes   Scopes
}

// Mint returns a token signed with HS256. It is meant for trials and tests: in
// production, the application that knows its users issues tokens. secret must have at
// least MinSecret bytes.
func Mint(secret []byte, spec TokenSpec) (string, error) {
	s, err := secretKey(secret)
	if err != nil {
		return "", err
	}
	if err := spec.Scopes.Check(); err != nil {
		return "", err
	}
	now := time.Now()
	c := claims{Tidemark: spec.Scopes, RegisteredClaims: jwt.RegisteredClaims{
		Subject: spec.Subject, Issuer: spec.Issuer,
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(spec.Life)),
	}}
	if spec.Audience != "" {
		c.Audience = jwt.ClaimStrings{spec.Audience}
	}
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.key)
	if err != nil {
		return "", fmt.Errorf("sign the token: %w", err)
	}
	return text, nil
}
