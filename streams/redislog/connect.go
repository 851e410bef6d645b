package redislog

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxSecret bounds a password file, maxPEM a file of certificates or a key, in
	// bytes: the certificates of all public authorities are a quarter of it.
	maxSecret = 4 << 10
	maxPEM    = 1 << 20

	// refusalWait is ample for what is already on its way.
	refusalWait = 250 * time.Millisecond
)

// TLS says how to trust a Redis, and how to be trusted by it, where the URL starts
// with rediss. The files are read once, by Open. The zero value trusts what the
// system trusts, and shows no certificate.
type TLS struct {
	CAFile     string // authorities that may have signed the server's certificate, PEM; "" means the system's
	CertFile   string // this client's certificate, PEM, with those between it and its authority
	KeyFile    string // the key of CertFile, PEM
	ServerName string // that every server's certificate has to be of; "" means the host that was dialled
}

func (t TLS) isZero() bool { return t == TLS{} }

// config reads the files.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := readFile(t.CAFile, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("certificate authority: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificate authority: %s has no certificate in PEM form", t.CAFile)
		}
	}
	if t.CertFile == "" && t.KeyFile == "" {
		return c, nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		return nil, errors.New("a client certificate and its key go together: one of the two files is not given")
	}
	pair, err := t.clientPair()
	if err != nil {
		return nil, fmt.Errorf("client certificate: %w", err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func (t TLS) clientPair() (tls.Certificate, error) {
	cert, err := readFile(t.CertFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := readFile(t.KeyFile, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		err = fmt.Errorf("%s with %s: %w", t.CertFile, t.KeyFile, err)
	}
	return pair, err
}

// readFile reads all of a file that has at most limit bytes. Errors name it.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(all)) > limit {
		err = fmt.Errorf("%s: larger than %d bytes", name, limit)
	}
	return all, err
}

// readSecret reads a password: the file's first line, and there must be no other.
func readSecret(name string) (string, error) {
	all, err := readFile(name, maxSecret)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSuffix(strings.TrimSuffix(string(all), "\n"), "\r")
	switch {
	case secret == "":
		return "", fmt.Errorf("%s is empty", name)
	case strings.Contains(secret, "\n"):
		return "", fmt.Errorf("%s has more than one line", name)
	}
	return secret, nil
}

// locate reads the URL and the files that o names.
func (o *Options) locate() (err error) {
	if o.place, err = parseURL(o.URL); err != nil {
		return err
	}
	for _, secret := range []struct {
		file string
		to   *string
		whom string
	}{
		{o.PasswordFile, &o.place.password, "the password"},
		{o.SentinelPasswordFile, &o.place.sentinelPassword, "the Sentinels' password"},
	} {
		switch {
		case secret.file == "":
			continue
		case *secret.to != "":
			return fmt.Errorf("%s is in the URL and in a file: give one of them", secret.whom)
		}
		if *secret.to, err = readSecret(secret.file); err != nil {
			return fmt.Errorf("%s: %w", secret.whom, err)
		}
	}
	return o.secure()
}

// secure looks whether what is given for signing in and for TLS goes together, and
// reads the certificates.
func (o *Options) secure() (err error) {
	to := &o.place
	switch {
	case to.user != "" && to.password == "", to.sentinelUser != "" && to.sentinelPassword == "":
		return errNoSecret
	case o.SentinelPasswordFile != "" && to.shape != sentinel:
		return errors.New("a password for Sentinels is for redis+sentinel://")
	case to.tls:
		o.certs, err = o.TLS.config()
		return err
	case !o.TLS.isZero():
		return errors.New("certificates are given, and the URL is not one for TLS: those start with rediss")
	}
	return nil
}

// connect returns a client for what o, complete, says. It does not talk to Redis yet.
func connect(o Options) redis.UniversalClient {
	u := o.universal()
	switch o.place.shape {
	case cluster:
		return redis.NewClusterClient(u.Cluster())
	case sentinel:
		return redis.NewFailoverClient(u.Failover())
	}
	return redis.NewClient(o.simple(u))
}

// simple returns the settings for the one server of u.
func (o Options) simple(u *redis.UniversalOptions) *redis.Options {
	s := u.Simple()
	if o.place.shape == socket {
		s.Network = "unix"
	}
	return s
}

// universal are the client's settings. The promises hang on some of them.
func (o Options) universal() *redis.UniversalOptions {
	to := o.place
	return &redis.UniversalOptions{
		Addrs: to.addrs, MasterName: to.master, DB: to.db, ClientName: to.clientName,
		Username: to.user, Password: to.password,
		SentinelUsername: to.sentinelUser, SentinelPassword: to.sentinelPassword,
		Dialer: dialOnce(o.DialTimeout, o.certs),

		// Nothing here needs RESP3: the client would look for push messages around
		// every reply, and ask for maintenance notices and introduce itself on every
		// new connection.
		Protocol: 2, DisableIdentity: true,

		// A repeated append is stored twice, unless it has a key.
		MaxRetries: -1, DialerRetries: 1,

		DialTimeout:  o.DialTimeout,
		ReadTimeout:  waitingFactor * o.Timeout, // each call has a deadline of its own
		WriteTimeout: o.Timeout, PoolTimeout: o.Timeout,
		ContextTimeoutEnabled: true,

		PoolSize: to.poolSize, MinIdleConns: to.minIdle,
		ConnMaxIdleTime: to.maxIdleTime, ConnMaxLifetime: to.maxLifetime,
	}
}

// settled marks the context of a subscription that has its connection.
type settled struct{}

var errSettled = errors.New("the subscription has lost its connection")

// dialOnce is the client's dialer: within limit there is a connection, with TLS
// where certs is not nil, or an error. Each server's certificate has to be of the
// host that was dialled, unless certs names another: go-redis by itself would hold
// all nodes of a Cluster to the first host of the URL.
//
// It does not dial for a settled subscription: go-redis would reconnect and
// subscribe again by itself, and what was published meanwhile would be a hole that
// nobody has told of.
func dialOnce(limit time.Duration, certs *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if ctx.Value(settled{}) != nil {
			return nil, errSettled
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if certs == nil {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		conn, err := (&tls.Dialer{Config: certs}).DialContext(ctx, network, addr)
		if err != nil && !errors.As(err, new(*net.OpError)) {
			err = fmt.Errorf("TLS with %s: %w", addr, err)
		}
		return conn, err
	}
}

// refusedByTLS reports whether this node does not trust the server's certificate, or
// the server not this node's: both take an operator.
func refusedByTLS(err error) bool {
	if _, untrusted := errors.AsType[*tls.CertificateVerificationError](err); untrusted {
		return true
	}
	remote, told := errors.AsType[*net.OpError](err)
	return told && remote.Op == "remote error" && slices.ContainsFunc(certificateAlerts, func(a tls.AlertError) bool {
		return remote.Err.Error() == a.Error() // its type is crypto/tls's own
	})
}

// certificateAlerts are those by which a server refuses a client's certificate: bad,
// unsupported, revoked, expired, unknown, of an unknown authority, with a signature
// that is not its authority's, missing.
//
// https://www.rfc-editor.org/rfc/rfc8446#section-6.2
var certificateAlerts = []tls.AlertError{42, 43, 44, 45, 46, 48, 51, 116}

// probe says what Redis does not: ErrSettings if a server of o speaks TLS where the
// URL says otherwise or the other way round (Redis waits for more of what it takes
// for a command, or hangs up), and a refusal of this node's certificate, which
// TLS 1.3 sends when the client already has its connection and a write may meet
// the end of it first.
func probe(ctx context.Context, o Options) error {
	if o.place.shape == socket {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, o.DialTimeout)
	defer cancel()
	addr := o.place.addrs[0]
	switch plain := speaksPlain(ctx, addr); {
	case plain && o.place.tls:
		return fmt.Errorf("%w: %s does not speak TLS: the URL has to start with redis instead of rediss, or to name the port for TLS", ErrSettings, addr)
	case o.place.tls:
		return refusal(ctx, o, addr)
	case !plain && speaksTLS(ctx, addr):
		return fmt.Errorf("%w: %s speaks TLS: the URL has to start with rediss instead of redis", ErrSettings, addr)
	}
	return nil
}

// refusal listens for refusalWait at a new connection.
func refusal(ctx context.Context, o Options, addr string) error {
	conn, err := dialOnce(o.DialTimeout, o.certs)(ctx, "tcp", addr)
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(refusalWait))
		_, err = conn.Read(make([]byte, 1))
	}
	if refusedByTLS(err) {
		return err
	}
	return nil
}

// speaksPlain reports whether there is an answer to PING, be it a refusal.
func speaksPlain(ctx context.Context, addr string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return false
	}
	first := make([]byte, 1)
	_, err = io.ReadFull(conn, first)
	return err == nil && (first[0] == '+' || first[0] == '-')
}

// speaksTLS reports whether there is a certificate, be it one that is not trusted.
func speaksTLS(ctx context.Context, addr string) bool {
	conn, err := new(tls.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return refusedByTLS(err)
}
