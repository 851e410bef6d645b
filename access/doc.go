// Package access authenticates credentials and decides which actions they allow.
// It does not know HTTP: its callers take credentials from requests and answer clients.
//
// [Verifier.Verify] turns a credential into a [Grant], and [Grant.Allows] decides every
// action. Two kinds of credential exist:
//
//   - A token is a JWT. It is verified with a secret, with public keys from a PEM file,
//     or with a key set that is read from a URL in the background. The kind of the key
//     decides which algorithms are accepted; the token's own header does not.
//   - An API key is a random text that does not expire (see [NewKey]). The configuration
//     and this package hold only its SHA-256 hash.
//
// Promised:
//
//   - Verify returns a grant only after it has verified the whole credential.
//   - An expired grant allows nothing.
//   - Errors and log lines never contain a credential or a secret.
//   - While the key set's URL does not answer, the keys read last stay valid.
//
// Not promised:
//
//   - A token cannot be revoked. It is valid until its exp.
//   - A key withdrawn from a key set is accepted until the next read, up to 5 minutes
//     later, and for longer while the URL does not answer.
package access
