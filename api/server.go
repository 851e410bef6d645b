package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/peers"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/sse"
	"github.com/tidemark/tidemark/api/internal/ws"
	"github.com/tidemark/tidemark/internal/logfilter"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
)

// drainTimeout bounds how long a client may take to receive its drain message. It is longer
// than publishTimeout: the publishes that a WebSocket client has begun are answered.
const drainTimeout = 10 * time.Second

// A Server answers the requests of a node's clients. It is an http.Handler.
type Server struct {
	opts     Options
	echo     *echo.Echo
	life     *lifecycle
	env      *conn.Env
	inFlight conn.InFlight // requests and connections
	conns    conn.Set
	unsent   *limits.MemoryPool // data that waits for slow clients
	bodies   *limits.MemoryPool // of request bodies and WebSocket messages
	guard    *peers.Guard
}

// New returns a Server for node. nil options mean the defaults.
func New(node *service.Node, o *Options) *Server {
	if o == nil {
		o = &Options{}
	}
	s := &Server{opts: o.withDefaults(), echo: echo.New(), life: newLifecycle()}
	s.unsent = limits.NewMemoryPool(s.opts.UnsentMemory)
	m := newMetrics(s.opts.Registerer)
	s.bodies = limits.NewMemoryPool(s.opts.BodiesMemory)
	registerPool(s.opts.Registerer, "bodies", s.bodies)
	registerPool(s.opts.Registerer, "unsent", s.unsent)
	s.env = s.newEnv(m)
	s.guard = peers.New(peers.Options{
		MaxConnections: s.opts.MaxConnections, MaxConnectionsPerAddress: s.opts.MaxConnectionsPerAddress,
		HeaderMemory: s.opts.HeaderMemory, MaxHeader: s.opts.MaxHeader,
		Trusted: clientip.Proxies(s.opts.TrustedProxies).Trusts,
	})
	s.route(node, m)
	return s
}

func (s *Server) newEnv(m *metrics) *conn.Env {
	env := &conn.Env{
		Scheduler:    conn.NewScheduler(m.deliveries),
		Set:          &s.conns,
		InFlight:     &s.inFlight,
		Unsent:       s.unsent,
		Problems:     problem.NewReporter(s.opts.Logger, m.problems),
		Logger:       s.opts.Logger,
		Cut:          s.life.cut,
		Started:      time.Now(),
		WriteTimeout: s.opts.WriteTimeout,
		KeepAlive:    s.opts.KeepAlive,
	}
	for p := range conn.Protocols {
		env.Open[p] = m.connections.WithLabelValues(p.String())
	}
	return env
}

// route builds the handlers and routes the requests to them.
func (s *Server) route(node *service.Node, m *metrics) {
	var (
		e        = s.echo
		problems = s.env.Problems
		proxies  = clientip.Proxies(s.opts.TrustedProxies)
		origins  = &origins{list: s.opts.Origins, cookie: s.opts.Cookie != ""}
		tracer   = newRequestTracer(s.opts.Tracing)
		history  = &slots{limiter: s.opts.HistoryLimiter, proxies: proxies, metrics: m}
		slots    = &slots{limiter: s.opts.ConnectionLimiter, proxies: proxies, metrics: m}
		rates    = &rateLimits{
			publisher: s.opts.PublishRate, address: s.opts.AddressRate, reader: s.opts.ReadRate, readerAddress: s.opts.ReadAddressRate,
			newRooms: newNewRoomLimit(s.opts.NewRoomRate, m), proxies: proxies, metrics: m,
		}
		observer = &observer{metrics: &m.requests, accessLog: s.opts.AccessLog, proxies: proxies, problems: problems, answers: answers{s.unsent}}

		sse  = &sse.Server{Env: s.env, Node: node}
		auth = &authenticator{
			verifier: s.opts.Access, unrestricted: access.Unrestricted(), cookie: s.opts.Cookie, origins: origins, sse: sse,
		}
		publisher = &publisher{node: node, opts: &s.opts, life: s.life, rates: rates, bodies: s.bodies, metrics: m, problems: problems, answers: answers{s.unsent}}
		streams   = &streamHandler{sse: sse, life: s.life, slots: slots, rates: rates, tracer: tracer, maxRooms: s.opts.MaxRooms}
		rooms     = &roomHandler{node: node, streams: streams, slots: history, rates: rates, answers: answers{s.unsent}}
		sockets   = &webSocketHandler{slots: slots, rates: rates, ws: ws.NewServer(
			s.env,
			&wsBackend{Node: node, auth: auth, life: s.life, rates: rates, publisher: publisher, tracer: tracer},
			ws.Options{
				MaxData: s.opts.MaxData, MaxMessage: s.opts.maxEvent(), MaxRooms: s.opts.MaxRooms, MaxMessages: s.opts.MaxMessages,
				PingEvery: s.opts.PingEvery, CheckOrigin: origins.allowPage, Refused: m.limits.WithLabelValues(limitMessages),
				Bodies: s.bodies,
			},
		)}
		health = &health{
			node: node, life: s.life, version: s.opts.Version, started: time.Now(),
			check: logCheck{logger: s.opts.Logger, warned: logfilter.Filter{Period: warnEvery}},
		}
	)
	e.HTTPErrorHandler = observer.answerError
	e.Use(observer.observe, countResets)
	if tracer != nil {
		e.Use(tracer.trace)
	}
	e.Use(recoverPanic(problems), noSniff, limitHeader(s.opts.MaxHeader))
	if len(s.opts.Origins) > 0 {
		e.Use(origins.cors())
	}
	if s.opts.Access != nil {
		e.Use(limitStrangers(auth.sse))
	}
	e.Use(auth.identify)

	e.POST("/v1/rooms/:room/events", publisher.publishToRoom)
	e.POST("/v1/users/:user/events", publisher.publishToUser)
	e.POST("/v1/broadcast", publisher.publishToAll)
	e.POST("/v1/events", publisher.publishBatch)

	e.GET("/v1/rooms/:room/events", rooms.readRoom)
	e.GET("/v1/events", streams.followRooms)
	e.GET("/v1/ws", sockets.serve)

	e.GET("/livez", health.live)
	e.HEAD("/livez", health.live)
	e.GET("/readyz", health.ready)
	e.HEAD("/readyz", health.ready)
	if s.opts.Gatherer != nil {
		e.GET("/metrics", administer(echo.WrapHandler(promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{}))))
	}
	if s.opts.Console != nil {
		e.GET("/", consolePage(s.opts.Console))
		e.GET("/console/*", consolePage(s.opts.Console))
	}
}

// Listen returns a listener for an http.Server whose handler is s. It closes the connections
// of l beyond the limits. The http.Server's ConnContext and ConnState must be those below.
func (s *Server) Listen(l net.Listener) net.Listener { return s.guard.Listen(l) }

// ConnContext returns the context for the requests on a connection.
func ConnContext(ctx context.Context, c net.Conn) context.Context { return peers.WithConn(ctx, c) }

// ConnState follows the state of a connection.
func ConnState(c net.Conn, state http.ConnState) { peers.Follow(c, state) }

// ServeHTTP implements http.Handler. A request that its client has already given up costs
// nothing more: over HTTP/2, clients can send and reset requests faster than a node can
// answer them.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	peer := peers.ConnOf(r.Context())
	if r.Context().Err() != nil {
		peer.Reset()
		return
	}
	s.inFlight.Add()
	defer s.inFlight.Done()
	// Set for every request, because the connection may still have the last one's. A writer
	// that does not support deadlines cannot be stalled by a client.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	if s.life.announced.Load() {
		// Announcing the close in a response stops the client from sending its next
		// request on a dying connection. Over HTTP/2, net/http sends GOAWAY instead.
		w.Header().Set("Connection", "close")
	}
	if peer.Begin(r.ProtoMajor > 1) {
		r = r.WithContext(peers.WithCrowded(r.Context()))
	}
	if r.ProtoMajor > 1 {
		defer peer.End()
	}
	s.echo.ServeHTTP(w, r)
	if s.opts.Access != nil && r.ProtoMajor > 1 && peer.Stranger() {
		// The request counts as open until the client has taken the answer. Otherwise
		// net/http writes the rest after this function has returned.
		_ = http.NewResponseController(w).Flush()
	}
}

// Announce makes the node report that it is not ready, and asks every client to use another
// connection for its next request. The node serves as before, so that load balancers have
// time to notice. Shutdown also announces.
func (s *Server) Announce() { s.life.announced.Store(true) }

// Shutdown sends every client to another node, spread over Options.DrainSpread, refuses
// publishes, and waits until all requests are answered. It closes a stream or WebSocket
// whose client does not take the drain message within 10 s. If ctx ends first, Shutdown
// closes the remaining connections, waits for their requests too, and returns ctx's error.
//
// Call it before http.Server.Shutdown, which would wait for streams that do not end.
// Afterwards the node may be closed. Over HTTP/2, Shutdown cannot close a connection whose
// client reads nothing at all: call http.Server.Close when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Announce()
	s.life.beginDraining()
	s.conns.Drain(s.opts.DrainSpread)
	late := time.AfterFunc(s.opts.DrainSpread+drainTimeout, s.conns.Close)
	defer late.Stop()
	defer s.env.Scheduler.Wait()
	if s.inFlight.Wait(ctx) == nil {
		return nil
	}
	s.life.beginCut()
	s.conns.Close()
	// No request waits for its client any more, and none waits for the log longer than its
	// time limit, such as publishTimeout.
	_ = s.inFlight.Wait(context.Background())
	return ctx.Err()
}
