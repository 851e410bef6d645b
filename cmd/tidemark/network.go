package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// pingAfter is how long an HTTP/2 connection may be silent before its client is asked
	// whether it is there, and pingWait how long it may take to say so. Together they are
	// silenceWait: a client that stalls for a minute stays.
	pingAfter = 30 * time.Second
	pingWait  = silenceWait - pingAfter

	// maxStreams bounds the requests that one HTTP/2 connection may have under way,
	// streams that are followed among them. A browser needs a few dozen, and what one
	// connection does not hold a proxy puts on a second; more would share the fate of
	// one TCP connection.
	maxStreams = 250

	// maxFrame bounds an HTTP/2 frame, in bytes: the least that there may be (RFC 9113,
	// 4.2), and what clients send unless they are told of more. net/http makes room for
	// a frame when it is announced, so that with its default of 1 MiB nine bytes take as
	// much for as long as their connection stands.
	maxFrame = 16 << 10

	// writeWait is what package api gives a client to take an answer. It is set here as
	// well, so that each HTTP/2 stream has its timer from the start: one that net/http
	// first makes for a stream that was given up meanwhile ("rapid reset") is not stopped,
	// and holds on to what the stream had for all that time.
	writeWait = 2 * time.Minute

	// maxSocketPath is what every system's addresses have room for (sockaddr_un).
	maxSocketPath = 103

	// socketMode lets the server's own user and group connect, such as a proxy's that
	// was put into the group.
	socketMode = 0o660
)

// networkFlags say where clients reach the node, and how.
type networkFlags struct {
	Listen   string `default:"127.0.0.1:8080" placeholder:"ADDR" help:"Address to listen on: host:port, or unix:/path for a Unix socket (default ${default})."`
	Insecure bool   `help:"Listen on other addresses than loopback although nobody is asked for a token or key: whoever reaches the port may publish and read everything."`
	TLSCert  string `name:"tls-cert" placeholder:"FILE" help:"Speak TLS, with the certificate in this file: PEM, with those between it and its authority. Read again when it changes."`
	TLSKey   string `name:"tls-key" placeholder:"FILE" help:"The certificate's key, PEM."`
}

// checkTLS refuses one file without the other, and two that don't fit.
func (f *networkFlags) checkTLS() error {
	if (f.TLSCert == "") != (f.TLSKey == "") {
		return usageError("--tls-cert and --tls-key go together: one of the two is not given")
	}
	if f.TLSCert == "" {
		return nil
	}
	if _, err := (&certificate{certFile: f.TLSCert, keyFile: f.TLSKey}).look(); err != nil {
		return fmt.Errorf("--tls-cert: %w", err)
	}
	return nil
}

// checkSocket refuses a path at which no socket can be: the system's own error does not
// say so.
func checkSocket(path string) error {
	if path == "" || len(path) > maxSocketPath {
		return usageError(fmt.Sprintf("--listen unix:%s: want unix: and a path of 1 to %d bytes", path, maxSocketPath))
	}
	return nil
}

// drainFlags say how a node leaves.
type drainFlags struct {
	DrainPause  time.Duration `default:"0s" placeholder:"TIME" help:"How long to go on when told to end, and to say so at /readyz, for load balancers to notice (default ${default})."`
	DrainSpread time.Duration `default:"2s" placeholder:"TIME" help:"Over how long to send the clients away then (default ${default})."`
}

func (f *drainFlags) checkDrain() error {
	switch {
	case f.DrainPause < 0 || f.DrainPause > mostWait:
		return usageError(fmt.Sprintf("--drain-pause: %v, want 0s to %v", f.DrainPause, mostWait))
	case f.DrainSpread < time.Millisecond || f.DrainSpread > mostWait:
		return usageError(fmt.Sprintf("--drain-spread: %v, want 1ms to %v", f.DrainSpread, mostWait))
	}
	return nil
}

// socket returns the path of the Unix socket to listen on, if that is what to listen on.
func (f *networkFlags) socket() (path string, ok bool) { return strings.CutPrefix(f.Listen, "unix:") }

// openTLS returns the certificate to show to clients, which SIGHUP has looked at again,
// and what ends that; nil where there is no TLS.
func (f *networkFlags) openTLS(logger *slog.Logger) (c *certificate, end func(), err error) {
	if f.TLSCert == "" {
		return nil, func() {}, nil
	}
	hangups := make(chan os.Signal, 1)
	if c, err = openCertificate(f.TLSCert, f.TLSKey, hangups, logger); err != nil {
		return nil, nil, fmt.Errorf("--tls-cert: %w", err)
	}
	signal.Notify(hangups, syscall.SIGHUP)
	return c, func() {
		signal.Stop(hangups)
		c.Close()
	}, nil
}

// listenUnix listens on a Unix socket, whose file is removed when the listener is closed.
// A file that a process left behind which is gone is replaced.
func listenUnix(path string) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: limitMode}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // see unixListener
	own, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	u := &unixListener{Listener: l, path: path, own: own}
	if err := os.Chmod(path, socketMode); err != nil { // what the umask has taken
		u.Close()
		return nil, err
	}
	return u, nil
}

// A unixListener removes its file when it is closed, unless another process's has taken
// its place: the next node may have been started over it.
type unixListener struct {
	net.Listener
	path string
	own  fs.FileInfo // of the file, whose number is no other's while the socket is open
	once sync.Once
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
			_ = os.Remove(l.path) // else the next node finds that nobody listens on it
		}
	})
	return l.Listener.Close()
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists, and is not a socket", path)
	}
	c, err := net.DialTimeout("unix", path, dialWait)
	if err == nil {
		c.Close()
		return fmt.Errorf("%s: another process listens on it", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// newWeb returns the HTTP server of handler, with TLS where there is a certificate. It
// speaks HTTP/1.1 and HTTP/2: the latter without TLS as well, to clients that begin with
// it (RFC 9113, 3.3), such as proxies.
func newWeb(handler http.Handler, c *certificate) *http.Server {
	web := &http.Server{Handler: handler, WriteTimeout: writeWait, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrame, SendPingTimeout: pingAfter, PingTimeout: pingWait,
		// Pings don't find a client that takes nothing and yet talks, nor does TCP where it
		// has no limit (listenTCP), nor a Unix socket: its streams would stay for good.
		WriteByteTimeout: silenceWait,
	}}
	web.Protocols.SetHTTP1(true)
	if c == nil {
		web.Protocols.SetUnencryptedHTTP2(true)
		return web
	}
	web.Protocols.SetHTTP2(true)
	web.TLSConfig = c.config()
	return web
}

// serveOn answers until web or the listener is closed.
func serveOn(web *http.Server, l net.Listener) error {
	if web.TLSConfig == nil {
		return web.Serve(l)
	}
	return web.ServeTLS(l, "", "")
}
