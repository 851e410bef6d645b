package redisconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

// alertWait is ample time for an alert that the server has already sent.
const alertWait = 250 * time.Millisecond

// diagnoseTLS finds two mistakes that Redis does not report. It returns nil for others.
//
// If only one side speaks TLS, Redis waits for the rest of the supposed command or closes
// the connection. That is ErrSettings.
//
// If Redis rejects this node's certificate, the alert may get lost. TLS 1.3 sends it when
// the client already has its connection, and a write may meet the closed connection first.
func (c *Config) diagnoseTLS(ctx context.Context) error {
	if c.Endpoint.Topology == endpoint.Socket {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	addr := c.Endpoint.Addrs[0]
	switch plain := speaksPlain(ctx, addr); {
	case plain && c.Endpoint.TLS:
		return fmt.Errorf("%w: %s does not speak TLS: the URL must start with redis instead of rediss, or have the port for TLS", rediserr.ErrSettings, addr)
	case c.Endpoint.TLS:
		return c.receiveAlert(ctx, addr)
	case !plain && speaksTLS(ctx, addr):
		return fmt.Errorf("%w: %s speaks TLS: the URL must start with rediss instead of redis", rediserr.ErrSettings, addr)
	}
	return nil
}

// receiveAlert opens a connection and waits up to alertWait for a TLS alert about a
// certificate. It returns nil if none comes.
func (c *Config) receiveAlert(ctx context.Context, addr string) error {
	conn, err := NewDialer(c.DialTimeout, c.Certificates)(ctx, "tcp", addr)
	if err == nil {
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(alertWait))
		_, err = conn.Read(make([]byte, 1))
	}
	if rediserr.RejectedByTLS(err) {
		return err
	}
	return nil
}

// speaksPlain reports whether the server answers a PING without TLS, even with an error.
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

// speaksTLS reports whether the server presents a certificate, trusted or not.
func speaksTLS(ctx context.Context, addr string) bool {
	conn, err := new(tls.Dialer).DialContext(ctx, "tcp", addr)
	if err == nil {
		_ = conn.Close()
		return true
	}
	return rediserr.RejectedByTLS(err)
}
