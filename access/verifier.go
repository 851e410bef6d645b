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

// Errors of Verify. Their text is sent to the client.
var (
	// ErrCredential reports a credential that is not valid here. The text says why.
	// Retrying with the same credential cannot help.
	ErrCredential = errors.New("the credential is not valid")
	// ErrExpired reports an expired token. The client needs a new one. It wraps
	// ErrCredential.
	ErrExpired = fmt.Errorf("%w: the token has expired: get a new one", ErrCredential)
	// ErrUnavailable reports that the node has not read the key set yet. The client
	// may retry with the same token.
	ErrUnavailable = errors.New("the keys to verify tokens cannot be read now")
)

const (
	// MaxCredential is the maximum length of a credential, in bytes.
	MaxCredential = 16 << 10
	// leeway is how far the issuer's clock may be ahead of this node's when a token's
	// nbf is checked. Its exp is exact, because it also ends connections.
	leeway = 10 * time.Second
)

// Options configures a Verifier. At most one of Secrets, PublicKeys and JWKS may be set,
// and at least one of these or Keys must be.
type Options struct {
	Secrets    [][]byte // for HS256, HS384 and HS512: at most 8, each at least MinSecret bytes
	PublicKeys []byte   // for RS256, ES256 and EdDSA: PEM blocks with public keys or certificates
	JWKS       string   // for the same algorithms: URL of a key set (RFC 7517)

	Issuer   string // required iss of tokens; empty accepts any
	Audience string // required aud of tokens; empty accepts any

	Keys []Key // API keys

	Logger *slog.Logger // nil means none
}

// A Verifier turns credentials into grants. It is safe for concurrent use. Close it when
// done.
type Verifier struct {
	source keySource // nil if tokens are not accepted
	parser *jwt.Parser
	keys   keyring
}

// Open returns a Verifier. It starts to read the key set in the background, if one is
// configured, and does not wait for it.
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

// Check returns the error that Open would return. It starts nothing and uses no network.
func Check(o Options) error {
	_, err := newVerifier(&o)
	return err
}

// newVerifier returns a Verifier that has not started to read a key set.
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
		return nil, fmt.Errorf("%w: no secret, public key, key set or API key is configured", errVerifying)
	}
	return v, nil
}

func newSource(o *Options) (keySource, error) {
	secret, public, remote := len(o.Secrets) > 0, len(o.PublicKeys) > 0, o.JWKS != ""
	switch {
	case secret && (public || remote), public && remote:
		return nil, fmt.Errorf("%w: want one of a secret, public keys and a JWKS URL, and not several", errVerifying)
	case secret:
		return secretKeys(o.Secrets)
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

// Close stops reading the key set and waits for that. The Verifier must not be used
// afterwards.
func (v *Verifier) Close() {
	if v.source != nil {
		v.source.close()
	}
}

// Verify returns the grant of a credential, a token or an API key. If the key set has to
// be read first, Verify waits for at most 5 s, or until ctx ends. Errors: ErrCredential,
// ErrExpired, ErrUnavailable.
func (v *Verifier) Verify(ctx context.Context, credential string) (*Grant, error) {
	switch {
	case len(credential) > MaxCredential:
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrCredential, MaxCredential)
	case strings.HasPrefix(credential, keyPrefix):
		if g := v.keys.find(sha256.Sum256([]byte(credential))); g != nil {
			return g, nil
		}
		return nil, fmt.Errorf("%w: the API key is unknown: it was removed, or never configured", ErrCredential)
	case v.source == nil:
		return nil, fmt.Errorf("%w: this server accepts API keys only, which start with %s", ErrCredential, keyPrefix)
	}
	return v.token(ctx, credential)
}

// claims are the claims of a token that Tidemark reads.
type claims struct {
	jwt.RegisteredClaims
	Tidemark Scopes `json:"tidemark"`
}

func (v *Verifier) token(ctx context.Context, text string) (*Grant, error) {
	var c claims
	if _, err := v.parser.ParseWithClaims(text, &c, v.keysOf(ctx)); err != nil {
		return nil, tokenError(err)
	}
	g, err := newGrant(c.Subject, c.Subject, &c.Tidemark, c.ExpiresAt.Time)
	if err != nil {
		return nil, fmt.Errorf("%w: the token's claim \"tidemark\": %v", ErrCredential, err)
	}
	if g.Expired() {
		return nil, ErrExpired
	}
	return g, nil
}

// keysOf returns a function that finds the keys for a token: all that have its algorithm
// and its kid, if it names one.
func (v *Verifier) keysOf(ctx context.Context) jwt.Keyfunc {
	return func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			return nil, errors.New("the token requires an extension") // RFC 7515, 4.1.11: reject unknown ones
		}
		id, _ := t.Header["kid"].(string)
		all, err := v.source.keys(ctx, id)
		if err != nil {
			return nil, err
		}
		var set jwt.VerificationKeySet
		for _, k := range all {
			if slices.Contains(k.methods, t.Method.Alg()) && k.named(id) {
				set.Keys = append(set.Keys, k.key)
			}
		}
		return set, nil
	}
}

// tokenError describes the fault of a token. It does not use the library's text, which
// may quote the token.
func tokenError(err error) error {
	switch {
	case errors.Is(err, ErrUnavailable):
		return ErrUnavailable
	case errors.Is(err, jwt.ErrTokenExpired):
		return ErrExpired
	}
	why := "a claim of the token has the wrong form"
	for _, known := range []struct {
		err  error
		text string
	}{
		{jwt.ErrTokenMalformed, "it is not a JWT"},
		{jwt.ErrTokenUnverifiable, "no configured key matches the token's algorithm (alg) and key id (kid)"},
		{jwt.ErrTokenSignatureInvalid, "the token was not signed with a key that this server accepts"},
		{jwt.ErrTokenRequiredClaimMissing, "the token lacks a required claim: want exp, and iss and aud if the server checks them"},
		{jwt.ErrTokenNotValidYet, "the token is not valid yet: check its nbf and the issuer's clock"},
		{jwt.ErrTokenInvalidIssuer, "the token's issuer (iss) is not the one that this server accepts"},
		{jwt.ErrTokenInvalidAudience, "the token's audience (aud) does not include this server"},
	} {
		if errors.Is(err, known.err) {
			why = known.text
			break
		}
	}
	return fmt.Errorf("%w: %s", ErrCredential, why)
}
