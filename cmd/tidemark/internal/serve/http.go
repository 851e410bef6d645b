package serve

import (
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/tidemark/tidemark/api"
)

const (
	// pingAfter is how long an HTTP/2 connection may be silent before the server sends a
	// ping, and pingWait how long the client may take to answer it. Together they are
	// maxSilence, so a client may stall for a minute.
	pingAfter = 30 * time.Second
	pingWait  = maxSilence - pingAfter

	// maxStreams bounds the open requests of one HTTP/2 connection, including event
	// streams. A browser needs a few dozen. A proxy opens a second connection for more,
	// which also keeps one broken TCP connection from ending more streams. RFC 9113, 6.5.2,
	// recommends at least 100. Each stream of an attacker costs a goroutine and its buffers:
	// 300 addresses that send and reset 2,000 streams per connection raised the resident
	// size to 590 MB with a bound of 250 and to 420 MB with 100.
	maxStreams = 100

	// maxFrame bounds an HTTP/2 frame, in bytes. It is the smallest limit that RFC 9113,
	// 4.2, allows and the one that clients assume by default. net/http allocates a frame
	// when it is announced. With its default of 1 MiB, nine bytes from a client would
	// hold that much memory as long as the connection lasts.
	maxFrame = 16 << 10

	// maxUnread bounds the bodies, in bytes, that an HTTP/2 client sends before a handler reads
	// them. With net/http's default of 1 MiB, 100 connections without a credential held 109 MB.
	maxUnread = 128 << 10

	// writeWait is how long a client may take to accept an answer. Package api sets the
	// same limit for each request. It is set here too, so that each HTTP/2 stream has its
	// timer from the start. net/http does not stop a timer that it first creates for a
	// stream that the client has already reset ("rapid reset"), and such a timer keeps
	// the stream's memory for the whole time.
	writeWait = 2 * time.Minute
)

// newHTTPServer returns the HTTP server of a node, with TLS if c is not nil.
func newHTTPServer(handler http.Handler, c *certificate, h2c bool, f *limitFlags, logger *slog.Logger) *http.Server {
	web := newServer(handler, c, h2c)
	web.ConnContext, web.ConnState = api.ConnContext, api.ConnState
	web.ReadHeaderTimeout = f.HeaderTimeout // also bounds the TLS handshake
	web.IdleTimeout = f.IdleTimeout
	// Package api enforces the limit itself with a problem document. Half more is room for
	// that: the answer of net/http is one line of text.
	web.MaxHeaderBytes = f.MaxHeader + f.MaxHeader/2
	web.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelDebug) // errors that clients cause
	return web
}

// newServer returns a server for HTTP/1.1 and, with TLS, HTTP/2. With h2c it also accepts
// HTTP/2 without TLS from clients that start with it (RFC 9113, 3.3), as some proxies do.
func newServer(handler http.Handler, c *certificate, h2c bool) *http.Server {
	web := &http.Server{Handler: handler, WriteTimeout: writeWait, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReadFrameSize: maxFrame, MaxReceiveBufferPerConnection: maxUnread, MaxReceiveBufferPerStream: maxUnread, SendPingTimeout: pingAfter, PingTimeout: pingWait,
		// A client may read nothing and still send frames. Pings do not detect it, and
		// neither does TCP without a user timeout (listenTCP), nor a Unix socket. Its
		// streams would stay open forever.
		WriteByteTimeout: maxSilence,
	}}
	web.Protocols.SetHTTP1(true)
	if c == nil {
		web.Protocols.SetUnencryptedHTTP2(h2c)
		return web
	}
	web.Protocols.SetHTTP2(true)
	web.TLSConfig = c.config()
	return web
}

// serveOn answers requests until web or the listener is closed.
func serveOn(web *http.Server, l net.Listener) error {
	if web.TLSConfig == nil {
		return web.Serve(l)
	}
	return web.ServeTLS(l, "", "")
}
