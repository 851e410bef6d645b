package redisconn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"
)

type noRedial struct{}

var errNoRedial = errors.New("the subscription has lost its connection")

// WithoutRedial marks the context of a subscription that has its connection. With it the
// client cannot open a new connection.
//
// go-redis would reconnect and subscribe again without telling its caller. Messages that
// were published in between would be lost without notice.
func WithoutRedial(ctx context.Context) context.Context {
	return context.WithValue(ctx, noRedial{}, true)
}

// RedialForbidden reports whether ctx comes from WithoutRedial.
func RedialForbidden(ctx context.Context) bool { return ctx.Value(noRedial{}) != nil }

// NewDialer returns the client's dialer. It returns a connection or an error within
// limit, with TLS unless certs is nil.
//
// Each server's certificate must be valid for the dialled host, unless certs has another
// server name. go-redis by itself would expect the first host of the URL from all nodes of
// a Cluster.
func NewDialer(limit time.Duration, certs *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if RedialForbidden(ctx) {
			return nil, errNoRedial
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
