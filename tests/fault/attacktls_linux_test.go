package fault_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// tlsFlags returns the flags of a node that serves TLS. An RSA key is the usual kind that
// costs most to sign with.
func tlsFlags(t *testing.T) []string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return []string{
		"--tls-cert=" + write("cert.pem", "CERTIFICATE", cert),
		"--tls-key=" + write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	}
}

// An unsent connection keeps all that is written to it.
type unsent struct {
	net.Conn
	bytes.Buffer
}

func (u *unsent) Write(p []byte) (int, error) { return u.Buffer.Write(p) }
func (u *unsent) Read([]byte) (int, error)    { return 0, io.EOF }

// clientHello returns the first bytes of a TLS connection.
func clientHello() (string, error) {
	var first unsent
	err := tls.Client(&first, &tls.Config{InsecureSkipVerify: true}).Handshake()
	if !errors.Is(err, io.EOF) {
		return "", err
	}
	return first.String(), nil
}

// slowHandshakes begins handshakes, sends the last byte of the first message after a time,
// and nothing more.
func slowHandshakes(clients int, after time.Duration) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		hello, err := clientHello()
		if err != nil {
			a.fault("handshake: %v", err)
			return
		}
		last := len(hello) - 1
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%8, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if !c.send(hello[:last]) {
				return
			}
			pause(ctx, after)
			if c.send(hello[last:]) {
				c.hold(ctx)
			}
		})
	}
}

// handshakesGivenUp sends the first message of a handshake, for which the node signs its
// answer, reads the beginning of the answer and connects again.
func handshakesGivenUp(clients int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		hello, err := clientHello()
		if err != nil {
			a.fault("handshake: %v", err)
			return
		}
		a.repeat(ctx, clients, 0, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%8, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			sent := c.send(hello)
			if _, err := c.Read(make([]byte, 1)); !sent || err != nil {
				a.answered("refused")
				pause(ctx, attackPause)
				return
			}
			a.answered("answer of the node")
		})
	}
}
