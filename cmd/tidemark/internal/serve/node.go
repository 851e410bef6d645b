package serve

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/api/console"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// node is one run of the serve command.
type node struct {
	*Cmd
	build   Build
	logger  *slog.Logger
	welcome io.Writer // gets the first steps for a new user; nil unless logs are text
}

// run starts the parts of the node in the order of their dependencies. The deferred calls
// stop them in reverse.
func (n *node) run(ctx context.Context) error {
	verifier, err := n.openVerifier(n.logger)
	if err != nil {
		return err
	}
	if verifier != nil {
		defer verifier.Close()
	}
	certificate, stopCertificate, err := n.tlsFlags.open(n.logger)
	if err != nil {
		return err
	}
	defer stopCertificate()
	listener, err := n.listenFlags.listen(n.requiresCredentials())
	if err != nil {
		return err
	}
	defer listener.Close() // http.Server closes it too; a second Close is harmless
	profiler, err := n.profilerFlags.start(n.HeaderTimeout, n.IdleTimeout, n.logger)
	if err != nil {
		return err
	}
	defer profiler.close() // late, so that profiles can show why stopping takes long
	setMemoryLimit(n.logger)
	defer startMemoryReleaser(ctx)()

	tracing, stopTracing, err := openTracing(ctx, n.name(), n.build.Version, n.logger)
	if err != nil {
		return err
	}
	defer stopTracing()

	metrics := prometheus.NewRegistry()
	log, err := n.openLog(ctx, metrics, tracing)
	if err != nil {
		return err
	}
	defer n.close("log", log) // after all parts that write to it

	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), n.build.Metric)
	if certificate != nil {
		certificate.register(metrics)
	}
	core := service.New(log, &service.Options{
		Name: n.name(), Retention: n.retention(), MaxFollowedRooms: n.MaxFollowedRooms, ReplayMemory: n.replayMemory(n.MaxData),
		Logger: n.logger, Metrics: metrics, Tracing: tracing,
	})
	defer core.Close()

	connections := n.openConnectionLimiter(log, n.logger)
	defer connections.Close()

	edge := api.New(core, &api.Options{
		MaxData: n.MaxData, MaxBatch: n.MaxBatch, MaxBody: n.MaxBody, MaxRooms: n.MaxRooms,
		MaxHeader: n.MaxHeader, BodyTimeout: n.BodyTimeout,
		Logger: n.logger, Console: console.Handler(),
		Registerer: metrics, Gatherer: metrics,
		Access: verifier, Cookie: n.AuthCookie, Origins: n.origins(),
		TrustedProxies: n.proxies(), ConnectionLimiter: connections, Tracing: tracing, MaxMessages: n.MaxMessages,
		PublishRate: rateLimiter(log, "publisher", n.PublishRate, n.logger),
		AddressRate: rateLimiter(log, "address", n.PublishRatePerAddress, n.logger),
		ReadRate:    rateLimiter(log, "reader", n.ReadRate, n.logger), ReadAddressRate: rateLimiter(log, "reader-address", n.ReadRatePerAddress, n.logger),
		NewRoomRate:    rateLimiter(log, "new-rooms", n.NewRoomRate, n.logger),
		HistoryLimiter: n.openHistoryLimiter(), BodiesMemory: n.bodiesMemory(memoryShare()),
		AccessLog: n.accessLogger(n.logger), Version: n.build.Version,
		DrainSpread: n.DrainSpread, UnsentMemory: n.replayMemory(n.MaxData), HeaderMemory: memoryShare(),
		MaxConnections: n.MaxConnections, MaxConnectionsPerAddress: n.MaxConnectionsPerAddress,
	})
	n.announce(listener.Addr().String())
	f := &frontend{
		listener: edge.Listen(listener), web: newHTTPServer(edge, certificate, n.H2C, &n.limitFlags, n.logger), edge: edge,
		drainFlags: n.drainFlags, logger: n.logger,
	}
	return f.serve(ctx)
}

// redisOptions returns the options of the log in Redis.
func (c *Cmd) redisOptions() redislog.Options {
	opt := c.RedisFlags.Options()
	opt.KeyLife, opt.TailLife = time.Duration(c.KeyLife), time.Duration(c.TailLife)
	if c.MaxConnectionsPerUser > 0 {
		opt.RequiredCommands = limits.ConnectionCommands(opt.Prefix)
	}
	return opt
}

func (n *node) openLog(ctx context.Context, metrics prometheus.Registerer, tracing trace.TracerProvider) (streams.Log, error) {
	if n.Redis == "" {
		return n.eventLogFlags.openEmbedded(n.logger)
	}
	opt := n.redisOptions()
	opt.Logger, opt.Tracing, opt.Metrics = n.logger, tracing, metrics
	return openRedis(ctx, opt)
}

// close closes a part of the node. Nothing can be done about an error, so it is only logged.
func (n *node) close(part string, c io.Closer) {
	if err := c.Close(); err != nil {
		n.logger.Error("could not close the "+part, "error", err)
	}
}

// announce reports that the node accepts connections: to the log, to the service manager
// and, on a terminal, to the user.
func (n *node) announce(address string) {
	place := "embedded log in " + n.Data
	if n.Redis != "" {
		place = "log in Redis"
	}
	hasTLS := n.TLSCert != ""
	if path, ok := n.socketPath(); ok {
		address = "unix:" + path
	}
	n.logger.Info("listening", "address", address, "tls", hasTLS, "log", place, "credentials", n.credentialKinds(), "version", n.build.Version)
	notifyServiceManager(notifyReady, n.logger)
	if n.welcome != nil && n.Redis == "" && !n.requiresCredentials() {
		printFirstSteps(n.welcome, address, hasTLS)
	}
}
