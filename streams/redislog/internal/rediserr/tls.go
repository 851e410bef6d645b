package rediserr

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
)

// RejectedByTLS reports whether this node does not trust the server's certificate, or the
// server does not trust this node's. Only an operator can change either.
func RejectedByTLS(err error) bool {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return true
	}
	remote, ok := errors.AsType[*net.OpError](err)
	return ok && remote.Op == "remote error" && slices.ContainsFunc(certificateAlerts, func(a tls.AlertError) bool {
		return remote.Err.Error() == a.Error() // crypto/tls does not export the type of the error
	})
}

// certificateAlerts are the alerts by which a server rejects a client's certificate: bad,
// unsupported, revoked, expired, unknown, unknown authority, invalid signature, missing.
//
// https://www.rfc-editor.org/rfc/rfc8446#section-6.2
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 51, 116}
