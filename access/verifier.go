package access

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Errors of Verify. The text after them is meant for whoever holds the credential.
var (
	// ErrCredential is a credential that gives no grant. Trying again with it can't
	// help.
	ErrCredential = errors.New("the credential is not valid")
	// ErrExpired is a token whose time is over. A new one helps. It is an
	// ErrCredential too.
	ErrExpired = fmt.Errorf("%w: the token has expired", ErrCredential)
	// ErrUnavailable means that the keys of tokens could not be read yet. The same
	// token may be good later.
	ErrUnavailable = errors.New("the keys of tokens can't be read now")
)

const (
	// MaxCredential bounds a credential, in bytes.
	MaxCredential = 16 << 10
	// leeway is how far the issuer's clock may be ahead of this one's where a token
	// says from when on it is good. Its end is exact: it ends connections too.
	leeway = 10 * time.Second
)

// Options say which credentials are good. Of Secrets, PublicKeys and JWKS there is at
// most one.
type Options struct {
	Secrets    [][]byte // any of them: tokens by HS256, HS384 or HS512; each at least MinSecret bytes
	PublicKeys []byte   // PEM: tokens by RS256, ES256 or EdDSA
	JWKS       string   // URL of a key set, the same

	Issuer   string // that tokens must be of; empty: of any
	Audience string // that tokens must be for; empty: for any

	Keys []Key

	Logger *slog.Logger // default: none
}

// A Verifier turns credentials into grants. It may be used by any number of
// goroutines.
type Verifier struct {
	source source // nil if there are no tokens
	parser *jwt.Parser
	keys   keyring
}

// Open returns a Verifier. Close it when done.
func Open(o Options) (*Verifier, error) {
	v, err := newVerifier(&o)
	if err != nil {
		return nil, err
	}
	if remote, ok := v.source.(*jwks); ok {
		remote.start()
	}
	return v, nil
}

// Check returns the error that Open would, and asks nobody for keys.
func Check(o Options) error {
	_, err := newVerifier(&o)
	return err
}

// newVerifier returns a Verifier that does not read keys from anywhere yet.
func newVerifier(o *Options) (*Verifier, error) {
	v := &Verifier{parser: newParser(o)}
	var err error
	if v.keys, err = newKeyring(o.Keys); err != nil {
		return nil, err
	}
	if v.source, err = newSource(o); err != nil {
		return nil, err
	}
	if v.source == nil && len(v.keys) == 0 {
		return nil, fmt.Errorf("%w: there is none, and no key either", errVerifying)
	}
	return v, nil
}

func newSource(o *Options) (source, error) {
	secret, public, remote := len(o.Secrets) > 0, len(o.PublicKeys) > 0, o.JWKS != ""
	switch {
	case secret && (public || remote), public && remote:
		return nil, fmt.Errorf("%w: want one of a secret, public keys and a JWKS URL", errVerifying)
	case secret:
		return secretSigners(o.Secrets)
	case public:
		return parsePEM(o.PublicKeys)
	case remote:
		return newJWKS(o.JWKS, cmp.Or(o.Logger, slog.New(slog.DiscardHandler)))
	}
	return nil, nil
}

func newParser(o *Options) *jwt.Parser {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(methods()), jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithStrictDecoding(),
	}
	if o.Issuer != "" {
		options = append(options, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		options = append(options, jwt.WithAudience(o.Audience))
	}
	return jwt.NewParser(options...)
}

// Close ends what reads keys in the background.
func (v *Verifier) Close() {
	if v.source != nil {
		v.source.close()
	}
}

// Verify returns what a credential allows. Where keys have to be read first it waits
// for that, within limits and ctx. Errors: ErrCredential, ErrExpired, ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, credential string) (*Grant, error) {
	switch {
	case len(credential) > MaxCredential:
		return nil, fmt.Errorf("%w: it has more than %d bytes", ErrCredential, MaxCredential)
	case strings.HasPrefix(credential, keyPrefix):
		if g := v.keys.find(sha256.Sum256([]byte(credential))); g != nil {
			return g, nil
		}
		return nil, fmt.Errorf("%w: the key is not known", ErrCredential)
	case v.source == nil:
		return nil, fmt.Errorf("%w: want a key, there are no tokens here", ErrCredential)
	}
	return v.token(ctx, credential)
}

// claims are what a token says.
type claims struct {
	jwt.RegisteredClaims
	Tidemark Scopes `json:"tidemark"`
}

func (v *Verifier) token(ctx context.Context, text string) (*Grant, error) {
	var said claims
	if _, err := v.parser.ParseWithClaims(text, &said, v.keysOf(ctx)); err != nil {
		return nil, refusal(err)
	}
	g, err := newGrant(said.Subject, said.Subject, &said.Tidemark, said.ExpiresAt.Time)
	if err != nil {
		return nil, fmt.Errorf("%w: its claim \"tidemark\": %v", ErrCredential, err)
	}
	if g.Expired() {
		return nil, ErrExpired
	}
	return g, nil
}

// keysOf returns what finds the keys for a token: those of its algorithm, and of the
// name that it gives.
func (v *Verifier) keysOf(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			return nil, errors.New("no extension is understood here") // RFC 7515, 4.1.11
		}
		id, _ := t.Header["kid"].(string)
		all, err := v.source.signers(ctx, id)
		if err != nil {
			return nil, err
		}
		var set jwt.VerificationKeySet
		for _, s := range all {
			if slices.Contains(s.methods, t.Method.Alg()) && (id == "" || s.id == "" || s.id == id) {
				set.Keys = append(set.Keys, s.key)
			}
		}
		return set, nil
	}
}

// refusal says in our own words what is wrong with a token: the library's may quote it.
func refusal(err error) error {
	switch {
	case errors.Is(err, ErrUnavailable):
		return ErrUnavailable
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	}
	why := "the token's claims are not as they should be"
	for _, known := range []struct {
		err  error
		text string
	}{
		{jwt.ErrTokenMalformed, "it is no token"},
		{jwt.ErrTokenUnverifiable, "no key is known that could have signed the token"},
		{jwt.ErrTokenSignatureInvalid, "the token's signature is not of a key known here"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a claim: want exp, and iss and aud where they are asked for"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet"},
		{jwt.ErrTokenInvalidIssuer, "the token is of another issuer"},
		{jwt.ErrTokenInvalidAudience, "the token is for another audience"},
	} {
		if errors.Is(err, known.err) {
			why = known.text
			break
		}
	}
	return fmt.Errorf("%w: %s", ErrCredential, why)
}
