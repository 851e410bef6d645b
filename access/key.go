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

// keyPrefix distinguishes a key from a token. It also lets secret scanners find keys
// that were published by mistake.
const keyPrefix = "tmk_"

// errKey reports a configured key that is not valid.
var errKey = errors.New("not a valid API key entry")

// A Hash is the SHA-256 of a key's text. The node keeps only the hash. A key has 256
// random bits, so guessing is hopeless and a slower hash would only slow the node.
type Hash [sha256.Size]byte

// String returns the hash as 64 hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// NewKey returns a new random key, which its holder keeps, and the hash for the
// configuration.
func NewKey() (key string, hash Hash) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	key = keyPrefix + base64.RawURLEncoding.EncodeToString(random[:])
	return key, sha256.Sum256([]byte(key))
}

// A Key is an API key's entry in the configuration: a credential for programs, without
// an expiry. Removing the entry revokes it.
type Key struct {
	Hash   Hash
	Scopes Scopes
}

// ParseKey parses an entry of the form HASH=SCOPES. HASH has 64 hexadecimal digits.
// SCOPES are separated by spaces: "publish:PATTERN", "subscribe:PATTERN" and
// "presence:PATTERN", each any number of times, and "admin". At least one is required.
// Patterns must not contain "{sub}", because a key does not belong to a user.
func ParseKey(s string) (Key, error) {
	var k Key
	digits, words, _ := strings.Cut(s, "=")
	if n, err := hex.Decode(k.Hash[:], []byte(digits[:min(len(digits), 2*len(k.Hash))])); err != nil ||
		n != len(k.Hash) || len(digits) != 2*len(k.Hash) {
		return k, fmt.Errorf("%w: want HASH=SCOPES with 64 hexadecimal digits before \"=\"", errKey)
	}
	for word := range strings.FieldsSeq(words) {
		if err := k.Scopes.add(word); err != nil {
			return k, err
		}
	}
	if strings.TrimSpace(words) == "" {
		return k, fmt.Errorf("%w: a key needs scopes: want one like HASH=publish:PATTERN", errKey)
	}
	if err := k.Scopes.Check(); err != nil {
		return k, err
	}
	if strings.Contains(words, subWord) {
		return k, fmt.Errorf("%w: %s is replaced by a user's name, and a key does not belong to a user: use a pattern without it", errKey, subWord)
	}
	return k, nil
}

// String returns k in the form that ParseKey reads.
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

// add adds one scope of a key entry.
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
		return fmt.Errorf("%w: unknown scope %.40q: want subscribe:PATTERN, publish:PATTERN, presence:PATTERN or admin", errKey, word)
	}
	return nil
}

// A keyring holds the grants of all configured keys.
type keyring []keyGrant

type keyGrant struct {
	hash  Hash
	grant *Grant
}

func newKeyring(keys []Key) (keyring, error) {
	ring := make(keyring, 0, len(keys))
	for _, k := range keys {
		if ring.find(k.Hash) != nil {
			return nil, fmt.Errorf("%w: the key %.8s… is there twice: remove one of the two", errKey, k.Hash)
		}
		grant, err := newGrant("key "+k.Hash.String()[:8], "", &k.Scopes, time.Time{})
		if err != nil {
			return nil, err
		}
		ring = append(ring, keyGrant{k.Hash, grant})
	}
	return ring, nil
}

// find returns the grant of the key with this hash, or nil. It compares all hashes in
// constant time, so its duration does not reveal which one matched.
func (r keyring) find(hash Hash) *Grant {
	var found *Grant
	for i := range r {
		if subtle.ConstantTimeCompare(hash[:], r[i].hash[:]) == 1 {
			found = r[i].grant
		}
	}
	return found
}
