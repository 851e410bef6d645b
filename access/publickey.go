package access

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// MinSecret is the shortest secret, in bytes: as much as HS256's hash has.
	MinSecret = 32
	// maxSecrets bounds the secrets: each is tried for each token that is no good.
	maxSecrets = 8
	// minRSA is the shortest RSA key, in bits (RFC 7518, 3.3).
	minRSA = 2048
	// maxKeys bounds the keys that tokens may be signed with: a token that does not
	// say by which it is has all of them tried.
	maxKeys = 32
)

// errVerifying is a key that can't verify tokens.
var errVerifying = errors.New("not a key that tokens can be verified with")

// A signer verifies the tokens of one who signs them. Its kind alone decides which
// algorithms are believed: otherwise a token could choose to be verified with a public
// key, which everybody has, taken for a secret.
type signer struct {
	id      string // by which tokens name it; may be empty
	methods []string
	key     any // what jwt takes for these methods
}

// source has the signers' keys.
type source interface {
	// signers returns those that may have signed a token that names id, which may
	// be empty.
	signers(ctx context.Context, id string) ([]signer, error)
	close()
}

// fixed is a source that does not change.
type fixed []signer

func (f fixed) signers(context.Context, string) ([]signer, error) { return f, nil }
func (f fixed) close()                                            {}

func secretSigners(secrets [][]byte) (all fixed, err error) {
	if len(secrets) > maxSecrets {
		return nil, fmt.Errorf("%w: %d secrets, want at most %d", errVerifying, len(secrets), maxSecrets)
	}
	for _, secret := range secrets {
		s, err := secretSigner(secret)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

func secretSigner(secret []byte) (signer, error) {
	if len(secret) < MinSecret {
		return signer{}, fmt.Errorf("%w: the secret has %d bytes, want at least %d", errVerifying, len(secret), MinSecret)
	}
	return signer{methods: []string{"HS256", "HS384", "HS512"}, key: slices.Clone(secret)}, nil
}

// publicSigner returns the signer of a public key: RSA, ECDSA on P-256, or Ed25519.
func publicSigner(id string, key any) (signer, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return signer{}, fmt.Errorf("%w: RSA with %d bits, want at least %d", errVerifying, k.N.BitLen(), minRSA)
		}
		return signer{id, []string{"RS256"}, k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return signer{}, fmt.Errorf("%w: ECDSA on %s, want P-256", errVerifying, k.Curve.Params().Name)
		}
		return signer{id, []string{"ES256"}, k}, nil
	case ed25519.PublicKey:
		return signer{id, []string{"EdDSA"}, k}, nil
	}
	return signer{}, fmt.Errorf("%w: want RSA, ECDSA on P-256, or Ed25519", errVerifying)
}

// parsePEM reads public keys, or certificates, one after the other.
func parsePEM(text []byte) (fixed, error) {
	var all fixed
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		s, err := publicSigner("", key)
		if err != nil {
			return nil, err
		}
		if all = append(all, s); len(all) > maxKeys {
			return nil, fmt.Errorf("%w: there are more than %d", errVerifying, maxKeys)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is no PEM block", errVerifying)
	}
	return all, nil
}

func parseBlock(block *pem.Block) (key any, err error) {
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	default:
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return nil, fmt.Errorf("%w: this is the private key, which only the issuer of tokens should have: give the public one", errVerifying)
		}
		return nil, fmt.Errorf("%w: a PEM block %.40q, want PUBLIC KEY or CERTIFICATE", errVerifying, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errVerifying, err)
	}
	return key, nil
}

// methods are all algorithms that there are here.
func methods() []string {
	return []string{
		jwt.SigningMethodHS256.Alg(), jwt.SigningMethodHS384.Alg(), jwt.SigningMethodHS512.Alg(),
		jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg(),
	}
}
