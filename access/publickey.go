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
	// MinSecret is the minimum length of a secret, in bytes: the size of HS256's hash
	// (RFC 7518, 3.2).
	MinSecret = 32
	// maxSecrets bounds the secrets, because an invalid token is tried with each.
	maxSecrets = 8
	// minRSA is the minimum length of an RSA key, in bits (RFC 7518, 3.3).
	minRSA = 2048
	// maxKeys bounds the public keys, because a token without a key id is tried with
	// each.
	maxKeys = 32
)

// errVerifying reports a setting that gives no key to verify tokens with.
var errVerifying = errors.New("no usable key to verify tokens")

// A verificationKey verifies the tokens that one key has signed. The kind of the key
// decides which algorithms are accepted. If the token decided, an attacker could sign an
// HS256 token with a public key as its secret.
type verificationKey struct {
	id      string // matches the token's kid; "" matches any
	methods []string
	key     any // of the type that package jwt expects for these methods
}

// named reports whether a token with this kid, which may be empty, may be signed by k.
func (k verificationKey) named(id string) bool { return id == "" || k.id == "" || k.id == id }

// A keySource provides the keys to verify tokens with. It is safe for concurrent use.
type keySource interface {
	// keys returns all known keys. id is the token's kid, which may be empty; a source
	// that does not know it may look for new keys first. Error: ErrUnavailable.
	keys(ctx context.Context, id string) ([]verificationKey, error)
	close()
}

// staticKeys is a keySource that does not change.
type staticKeys []verificationKey

func (s staticKeys) keys(context.Context, string) ([]verificationKey, error) { return s, nil }
func (s staticKeys) close()                                                  {}

func secretKeys(secrets [][]byte) (all staticKeys, err error) {
	if len(secrets) > maxSecrets {
		return nil, fmt.Errorf("%w: %d secrets, want at most %d", errVerifying, len(secrets), maxSecrets)
	}
	for _, secret := range secrets {
		k, err := secretKey(secret)
		if err != nil {
			return nil, err
		}
		all = append(all, k)
	}
	return all, nil
}

func secretKey(secret []byte) (verificationKey, error) {
	if len(secret) < MinSecret {
		return verificationKey{}, fmt.Errorf("%w: the secret has %d bytes, want at least %d", errVerifying, len(secret), MinSecret)
	}
	return verificationKey{methods: []string{"HS256", "HS384", "HS512"}, key: slices.Clone(secret)}, nil
}

// publicKey returns the verificationKey for an RSA, ECDSA P-256 or Ed25519 public key.
func publicKey(id string, key any) (verificationKey, error) {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < minRSA {
			return verificationKey{}, fmt.Errorf("%w: the RSA key has %d bits, want at least %d", errVerifying, k.N.BitLen(), minRSA)
		}
		return verificationKey{id, []string{"RS256"}, k}, nil
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return verificationKey{}, fmt.Errorf("%w: the ECDSA key uses %s, want P-256", errVerifying, k.Curve.Params().Name)
		}
		return verificationKey{id, []string{"ES256"}, k}, nil
	case ed25519.PublicKey:
		return verificationKey{id, []string{"EdDSA"}, k}, nil
	}
	return verificationKey{}, fmt.Errorf("%w: want an RSA, ECDSA P-256 or Ed25519 key", errVerifying)
}

// parsePEM reads the public keys and certificates of a PEM file.
func parsePEM(text []byte) (staticKeys, error) {
	var all staticKeys
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		key, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		k, err := publicKey("", key)
		if err != nil {
			return nil, err
		}
		if all = append(all, k); len(all) > maxKeys {
			return nil, fmt.Errorf("%w: the file has more than %d keys", errVerifying, maxKeys)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the file has no PEM block: want PUBLIC KEY or CERTIFICATE", errVerifying)
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
			return nil, fmt.Errorf("%w: the file holds a private key, which only the issuer of tokens may have: give the public key", errVerifying)
		}
		return nil, fmt.Errorf("%w: unknown PEM block %.40q, want PUBLIC KEY or CERTIFICATE", errVerifying, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errVerifying, err)
	}
	return key, nil
}

// methods returns all algorithms that this package accepts.
func methods() []string {
	return []string{
		jwt.SigningMethodHS256.Alg(), jwt.SigningMethodHS384.Alg(), jwt.SigningMethodHS512.Alg(),
		jwt.SigningMethodRS256.Alg(), jwt.SigningMethodES256.Alg(), jwt.SigningMethodEdDSA.Alg(),
	}
}
