package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/console"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
	"github.com/tidemark/tidemark/streams/redislog"
)

const (
	// headerRoom is how much further net/http goes than package api, which answers
	// with a problem document: net/http's own answer is one line of plain text.
	headerRoom = 4

	// drainWait bounds the end, once all clients are sent away: what has not been
	// answered by then is cut off. With the defaults it is over before the 30 s are, that
	// orchestrators give.
	drainWait = 20 * time.Second
)

type serveCmd struct {
	networkFlags

	Node string `placeholder:"NAME" help:"Name of this node, in logs and to clients (default: the host's name)."`

	drainFlags

	Data     string `default:"./tidemark-data" placeholder:"DIR" group:"log" help:"Directory of the embedded log (default ${default})."`
	Retain   []rule `sep:";" placeholder:"PATTERN=EVENTS,AGE" group:"log" help:"What the log keeps of the rooms that match, such as 'chat.*=5000,7d'. 0 events make them ephemeral. Repeatable (in the environment: separated by ';'), the first match counts. Default: the newest 1,000 events, 24h."`
	KeyLife  age    `default:"24h" placeholder:"AGE" group:"log" help:"How long idempotency keys are known (default ${default})."`
	TailLife age    `default:"30d" placeholder:"AGE" group:"log" help:"How long a room's last position is known after its events have expired (default ${default})."`

	authFlags

	limitFlags

	seatFlags

	redisFlags

	LogFormat logFormat  `default:"auto" enum:"auto,text,json" placeholder:"FORMAT" group:"logs" help:"How to write logs to standard error: text, json, or auto: text on a terminal, json elsewhere."`
	LogLevel  slog.Level `default:"info" placeholder:"LEVEL" group:"logs" help:"debug, info, warn or error (default ${default})."`
	AccessLog bool       `group:"logs" help:"Log each request when it is answered, and each stream and WebSocket when it has ended: who, what, how long, why. Without queries and headers."`

	PprofListen string `placeholder:"ADDR" group:"logs" help:"Serve profiles (/debug/pprof) at this loopback address, such as 127.0.0.1:6060 (default: nowhere)."`
}

func (serveCmd) Help() string {
	return `Without --redis the node keeps its log in a directory, fsynced before each answer: one process, nothing else to install. With --redis any number of nodes share the log; put a load balancer in front of them.

    tidemark serve                                         the log in ./tidemark-data
    tidemark serve --redis redis://localhost:6379/0        one of several nodes
    tidemark serve --retain 'chat.*=5000,7d' --retain 'cursor.*=0'
    tidemark serve --listen :8080 --auth-secret-file secret     asks clients for tokens: see 'tidemark token --help'
    tidemark serve --listen :8443 --tls-cert cert.pem --tls-key key.pem --auth-secret-file secret
    tidemark serve --listen unix:/run/tidemark/tidemark.sock
    TIDEMARK_LISTEN=127.0.0.1:9000 tidemark serve

SIGINT and SIGTERM end it in order: /readyz says so, after --drain-pause no connection is taken any more, clients are sent elsewhere over --drain-spread, publishes that have begun are answered, the log is closed. A second signal ends it at once.`
}

func (c *serveCmd) Run(std stdio, command *kong.Context) error {
	if err := c.firstProblem(); err != nil {
		return err
	}
	ctx, stop := interruptible()
	defer stop()
	format := c.LogFormat.resolve(std.err)
	logger := newLogger(std.err, format, c.LogLevel)
	for _, note := range strangeVariables(command.Model, os.Environ()) {
		logger.Warn(note)
	}
	s := &server{serveCmd: c, logger: logger.With("node", c.name())}
	if format == formatText {
		s.greeting = std.out
	}
	return s.run(ctx)
}

// name is the node's: the host's where none is given.
func (c *serveCmd) name() string {
	host, _ := os.Hostname() // "" is as good as an error
	return cmp.Or(c.Node, host, "tidemark")
}

// server is one run of the serve command.
type server struct {
	*serveCmd
	logger   *slog.Logger
	greeting io.Writer // for people who just started it; nil where none look
}

// run starts the parts in the order in which they need each other; the defers
// end them in reverse.
func (s *server) run(ctx context.Context) error {
	verifier, err := s.openAccess(s.logger)
	if err != nil {
		return err
	}
	if verifier != nil {
		defer verifier.Close()
	}
	certificate, end, err := s.openTLS(s.logger)
	if err != nil {
		return err
	}
	defer end()
	listener, err := s.listen()
	if err != nil {
		return err
	}
	defer listener.Close() // again after http.Server has: no harm
	profiler, err := s.profile()
	if err != nil {
		return err
	}
	defer profiler.close() // to the end one can see what it waits for

	tidying, stop := context.WithCancel(ctx)
	var tidier sync.WaitGroup
	tidier.Go(func() { tidy(tidying) })
	defer tidier.Wait()
	defer stop()

	tracing, flush, err := s.openTracing(ctx)
	if err != nil {
		return err
	}
	defer flush()

	metrics := prometheus.NewRegistry()
	log, err := s.openLog(ctx, metrics, tracing)
	if err != nil {
		return err
	}
	defer s.close("log", log) // last: all that the node accepted is in it

	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), buildInfo())
	if certificate != nil {
		certificate.register(metrics)
	}
	node := service.New(log, &service.Options{Name: s.name(), Retention: s.rules(), Logger: s.logger, Metrics: metrics, Tracing: tracing})
	defer node.Close()

	seats := s.openSeats(log, s.logger)
	defer seats.Close()

	edge := api.New(node, &api.Options{
		MaxData: s.MaxData, MaxBatch: s.MaxBatch, MaxBody: s.MaxBody, MaxRooms: s.MaxRooms,
		MaxHeader: s.MaxHeader, BodyTimeout: s.BodyTimeout,
		Logger: s.logger, Console: console.Handler(),
		Registerer: metrics, Gatherer: metrics,
		Access: verifier, Cookie: s.AuthCookie, Origins: s.origins(),
		TrustedProxies: s.proxies(), ConnectionLimiter: seats, Tracing: tracing, MaxMessages: s.MaxMessages,
		PublishRate: buckets(log, "publisher", s.PublishRate, s.logger),
		AddressRate: buckets(log, "address", s.PublishRatePerAddress, s.logger),
		AccessLog:   s.accessLog(), Version: version(),
		DrainSpread: s.DrainSpread,
	})
	s.started(listener.Addr())
	return s.serve(ctx, listener, s.web(edge, certificate), edge)
}

// accessLog is where requests are written down; nil for nowhere.
func (s *server) accessLog() *slog.Logger {
	if !s.AccessLog {
		return nil
	}
	return s.logger
}

// listen resolves the address once, so that the one that is looked at is the one that
// is used.
func (s *server) listen() (net.Listener, error) {
	if path, ok := s.socket(); ok {
		return listenUnix(path)
	}
	addr, err := net.ResolveTCPAddr("tcp", s.Listen)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", s.Listen, err)
	}
	if err := s.checkExposure(addr.IP.IsLoopback()); err != nil {
		return nil, err
	}
	return listenTCP(addr)
}

// logOptions are those of the log in Redis.
func (c *serveCmd) logOptions() redislog.Options {
	opt := c.redisFlags.options()
	opt.KeyLife, opt.TailLife = time.Duration(c.KeyLife), time.Duration(c.TailLife)
	if c.MaxConnectionsPerUser > 0 {
		opt.RequiredCommands = limits.ConnectionCommands(opt.Prefix)
	}
	return opt
}

func (s *server) openLog(ctx context.Context, metrics prometheus.Registerer, tracing trace.TracerProvider) (streams.Log, error) {
	if s.Redis != "" {
		redis.SetLogger(redisLogger{s.logger})
		opt := s.logOptions()
		opt.Logger, opt.Tracing, opt.Metrics = s.logger, tracing, metrics
		log, err := redislog.Open(ctx, opt)
		if err != nil {
			return nil, err // not log: a nil pointer in an interface is not nil
		}
		return log, nil
	}
	return embedded.Open(s.Data, embedded.Options{
		KeyLife: time.Duration(s.KeyLife), TailLife: time.Duration(s.TailLife),
		Logger: s.logger,
	})
}

func (s *server) rules() []service.RetentionRule {
	rules := make([]service.RetentionRule, len(s.Retain))
	for i, r := range s.Retain {
		rules[i] = service.RetentionRule(r)
	}
	return rules
}

// web returns the HTTP server, with TLS where there is a certificate.
func (s *server) web(edge *api.Server, c *certificate) *http.Server {
	web := newWeb(edge, c)
	web.ReadHeaderTimeout = s.HeaderTimeout // and of the TLS handshake
	web.IdleTimeout = s.IdleTimeout
	web.MaxHeaderBytes = headerRoom * s.MaxHeader
	web.ErrorLog = slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug) // what clients do wrong
	return web
}

// serve answers until ctx ends, then sends clients away, lets requests that have
// begun finish, and returns nil. A server that stops by itself is an error.
func (s *server) serve(ctx context.Context, listener net.Listener, web *http.Server, edge *api.Server) error {
	served := make(chan error, 1)
	go func() { served <- serveOn(web, listener) }() // until drain

	select {
	case err := <-served:
		return errors.Join(err, s.drain(listener, web, edge))
	case <-ctx.Done():
	}
	s.logger.Info("stopping", "pause", s.DrainPause.String())
	s.notify(notifyStopping)
	edge.Announce()
	select {
	case err := <-served:
		return errors.Join(err, s.drain(listener, web, edge))
	case <-time.After(s.DrainPause):
	}
	err := s.drain(listener, web, edge)
	<-served
	return err
}

// drain ends web within drainWait of the last client's turn: first no connection is
// accepted any more, then the clients that follow are sent away, and requests waited for.
func (s *server) drain(listener net.Listener, web *http.Server, edge *api.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.DrainSpread+drainWait)
	defer cancel()
	// Not web.Shutdown: it would leave requests without an answer that come just then on
	// connections that stand.
	_ = listener.Close()
	stop := context.AfterFunc(ctx, func() { _ = web.Close() }) // what edge can't cut
	defer stop()
	// Once more for those who came before no connection was accepted any more.
	err := errors.Join(edge.Shutdown(ctx), web.Shutdown(ctx), edge.Shutdown(ctx))
	if err != nil {
		s.logger.Warn("not all clients left in time", "error", err)
		return web.Close()
	}
	return nil
}

// close is for parts whose end can fail without anything left to do about it.
func (s *server) close(what string, c io.Closer) {
	if err := c.Close(); err != nil {
		s.logger.Error("closing the "+what, "error", err)
	}
}

// started tells where the server listens, and shows somebody new the way.
func (s *server) started(addr net.Addr) {
	where := "embedded log in " + s.Data
	if s.Redis != "" {
		where = "log in Redis"
	}
	address := addr.String()
	if path, ok := s.socket(); ok {
		address = "unix:" + path
	}
	s.logger.Info("listening", "address", address, "tls", s.TLSCert != "", "log", where, "credentials", s.credentials(), "version", version())
	s.notify(notifyReady)
	if s.greeting != nil && s.Redis == "" && !s.asks() {
		fmt.Fprintf(s.greeting, greeting, s.at(address), s.curl())
	}
}

// at is the URL of what listens on address, for people.
func (s *server) at(address string) string {
	switch _, unix := s.socket(); {
	case unix && s.TLSCert != "":
		return "https://localhost"
	case unix:
		return "http://localhost"
	case s.TLSCert != "":
		return "https://" + address
	}
	return "http://" + address
}

// curl is how to call curl for it.
func (s *server) curl() string {
	if path, ok := s.socket(); ok {
		return "curl --unix-socket " + path
	}
	return "curl"
}

const greeting = `
Tidemark is at %[1]s

  publish   %[2]s --json '{"data":{"text":"hi"}}' %[1]s/v1/rooms/lobby/events
  follow    %[2]s -N -H 'Accept: text/event-stream' %[1]s/v1/rooms/lobby/events
  resume    %[2]s -N -H 'Accept: text/event-stream' -H 'Last-Event-ID: earliest' %[1]s/v1/rooms/lobby/events

To resume where you were, give Last-Event-ID the last "id:" that you saw.

`
