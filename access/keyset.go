package access

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/MicahParks/jwkset"
)

// parseJWKS reads a key set (RFC 7517). It skips keys that cannot verify tokens: other
// kinds, keys for encryption, symmetric keys, and malformed ones.
func parseJWKS(text []byte) ([]verificationKey, error) {
	var set jwkset.JWKSMarshal
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("%w: the document is not a JSON Web Key Set", errVerifying)
	}
	var all []verificationKey
	for _, k := range set.Keys {
		key, err := parseJWK(k)
		if err != nil {
			continue
		}
		if all = append(all, key); len(all) > maxKeys {
			return nil, fmt.Errorf("%w: the key set has more than %d keys", errVerifying, maxKeys)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: the key set contains no RSA, P-256 or Ed25519 key for signatures", errVerifying)
	}
	return all, nil
}

func parseJWK(k jwkset.JWKMarshal) (verificationKey, error) {
	if k.USE != "" && k.USE != jwkset.UseSig || k.KTY == jwkset.KtyOct {
		return verificationKey{}, errVerifying
	}
	// Certificates are ignored: the set is trusted because of its URL.
	k.X5U, k.X5C, k.X5T, k.X5TS256 = "", nil, "", ""
	parsed, err := jwkset.NewJWKFromMarshal(k, jwkset.JWKMarshalOptions{}, jwkset.JWKValidateOptions{})
	if err != nil {
		return verificationKey{}, err
	}
	key, err := publicKey(k.KID, parsed.Key())
	if err == nil && k.ALG != "" && !slices.Contains(key.methods, k.ALG.String()) {
		return verificationKey{}, errVerifying
	}
	return key, err
}
