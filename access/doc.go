// Package access says who may do what. A credential (a token or a key) becomes a
// [Grant], and everything that leads to an event asks the grant's one method,
// [Grant.Allows]. It knows nothing of HTTP: where credentials come from, and what
// becomes of those who have none, is for its callers.
//
// A token is a JWT. The kind of the key alone decides by which algorithms it may be
// signed: what a token says of itself is believed only where the key agrees. Keys
// come from a secret, from a PEM file, or from a JWKS URL that is read again in the
// background. A key of the configuration (see [NewKey]) is known here only by its
// hash.
//
// Promised: a credential that can't be verified to the last part gives no grant; no
// error and no log line has a credential or a secret in it; a grant that has expired
// allows nothing.
package access
