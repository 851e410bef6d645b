package config

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// warnBefore is how long before its expiry a certificate causes a warning. Certificates for
// 90 days are usually renewed 30 days before.
const warnBefore = 14 * 24 * time.Hour

// expiryWarnings returns a warning for each certificate in a PEM file that has expired,
// expires soon, or is not valid yet. It ignores a file that it can't read; other checks
// report it.
func expiryWarnings(flag, file string, now time.Time) []string {
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return nil
	}
	var warnings []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		if state := expiryState(cert, now); state != "" {
			warnings = append(warnings, fmt.Sprintf("--%s %s: the certificate of %q %s", flag, file, cert.Subject, state))
		}
	}
	return warnings
}

// expiryState describes a certificate that is not valid at now or expires soon, and is ""
// for any other.
func expiryState(cert *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(cert.NotBefore):
		return "is not valid before " + cert.NotBefore.UTC().Format(time.DateTime)
	case now.After(cert.NotAfter):
		return "expired on " + cert.NotAfter.UTC().Format(time.DateTime)
	case now.After(cert.NotAfter.Add(-warnBefore)):
		return "expires on " + cert.NotAfter.UTC().Format(time.DateTime)
	}
	return ""
}
