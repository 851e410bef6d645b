package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"
)

// renewBefore is how long before its end a certificate is worth a word: those that are
// made for 90 days are usually renewed 30 days before.
const renewBefore = 14 * 24 * time.Hour

// certificateNotes tells of certificates in a PEM file that are over, soon will be, or are
// not good yet. A file that can't be read is for others to tell of.
func certificateNotes(flag, file string, now time.Time) []string {
	text, err := os.ReadFile(file)
	if file == "" || err != nil {
		return nil
	}
	var notes []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		if state := lifeOf(cert, now); state != "" {
			notes = append(notes, fmt.Sprintf("--%s %s: the certificate of %q %s", flag, file, cert.Subject, state))
		}
	}
	return notes
}

// lifeOf says what is to be said of a certificate's life, if anything.
func lifeOf(cert *x509.Certificate, now time.Time) string {
	switch {
	case now.Before(cert.NotBefore):
		return "is not good before " + cert.NotBefore.UTC().Format(time.DateTime)
	case now.After(cert.NotAfter):
		return "has been over since " + cert.NotAfter.UTC().Format(time.DateTime)
	case now.After(cert.NotAfter.Add(-renewBefore)):
		return "is over on " + cert.NotAfter.UTC().Format(time.DateTime)
	}
	return ""
}
