package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"
)

// keyPrefix tells a key from a token, also to those who look for credentials that
// were published by mistake.
const keyPrefix = "tmk_"

// errKey is a key of the configuration that can't be meant.
var errKey = errors.New("not a key's hash and scopes")

// A Hash is all that is kept of a key: the SHA-256 of its text. A key has 256 random
// bits, so that nobody finds it by trying, and a slower hash would only slow the node.
type Hash [sha256.Size]byte

// String returns the hash in hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// NewKey makes a key, and the hash by which the configuration knows it.
func NewKey() (key string, hash Hash) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return key, sha256.Sum256([]byte(key))
}

// A Key is a credential that does not expire, for programs that publish. It ends when
// it is taken out of the configuration.
type Key struct {
	Hash   Hash
	Scopes Scopes
}

// ParseKey reads a key of the configuration: its hash in hexadecimal digits, "=", and
// what it allows, separated by spaces: "publish:PATTERN", "subscribe:PATTERN",
// "presence:PATTERN", each as often as needed, and "admin".
func ParseKey(s string) (Key, error) {
	var k Key
	digits, words, _ := strings.Cut(s, "=")
	if n, err := hex.Decode(k.Hash[:], []byte(digits[:min(len(digits), 2*len(k.Hash))])); err != nil ||
		n != len(k.Hash) || len(digits) != 2*len(k.Hash) {
		return k, fmt.Errorf("%w: want 64 hexadecimal digits before \"=\"", errKey)
	}
	for word := range strings.FieldsSeq(words) {
		if err := k.Scopes.add(word); err != nil {
			return k, err
		}
	}
	if strings.TrimSpace(words) == "" {
		return k, fmt.Errorf("%w: it allows nothing: want HASH=publish:PATTERN or the like", errKey)
	}
	if err := k.Scopes.Check(); err != nil {
		return k, err
	}
	if strings.Contains(words, subWord) {
		return k, fmt.Errorf("%w: %s stands for a user's name, and a key is no user's", errKey, subWord)
	}
	return k, nil
}

// String returns k as ParseKey reads it.
func (k Key) String() string {
	var words []string
	for _, list := range []struct {
		action   string
		patterns []string
	}{{"subscribe", k.Scopes.Subscribe}, {"publish", k.Scopes.Publish}, {"presence", k.Scopes.Presence}} {
		for _, pattern := range list.patterns {
			words = append(words, list.action+":"+pattern)
		}
	}
	if k.Scopes.Admin {
		words = append(words, "admin")
	}
	return k.Hash.String() + "=" + strings.Join(words, " ")
}

// add adds what one word of a key allows.
func (s *Scopes) add(word string) error {
	action, pattern, _ := strings.Cut(word, ":")
	switch {
	case word == "admin":
		s.Admin = true
	case action == "subscribe":
		s.Subscribe = append(s.Subscribe, pattern)
	case action == "publish":
		s.Publish = append(s.Publish, pattern)
	case action == "presence":
		s.Presence = append(s.Presence, pattern)
	default:
		return fmt.Errorf("%w: %.40q: want subscribe:PATTERN, publish:PATTERN, presence:PATTERN or admin", errKey, word)
	}
	return nil
}

// A keyring holds the grants of the configured keys.
type keyring []keyGrant

type keyGrant struct {
	hash  Hash
	grant *Grant
}

func newKeyring(keys []Key) (keyring, error) {
	ring := make(keyring, 0, len(keys))
	for _, k := range keys {
		if ring.find(k.Hash) != nil {
			return nil, fmt.Errorf("%w: %.8s… is there twice", errKey, k.Hash)
		}
		grant, err := newGrant("key "+k.Hash.String()[:8], "", &k.Scopes, time.Time{})
		if err != nil {
			return nil, err
		}
		ring = append(ring, keyGrant{k.Hash, grant})
	}
	return ring, nil
}

// find returns the grant of the key that has the hash, or nil. It takes as long
// whichever it is, and if none is.
func (r keyring) find(hash Hash) *Grant {
	var found *Grant
	for i := range r {
		if subtle.ConstantTimeCompare(hash[:], r[i].hash[:]) == 1 {
			found = r[i].grant
		}
	}
	return found
}
