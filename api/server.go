package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tracing"
)

// A Server answers the requests of a node's clients. It is an http.Handler.
type Server struct {
	// Fixed by New.
	node     *service.Node
	opts     Options
	metrics  *metrics
	problems *problem.Reporter
	echo     *echo.Echo
	upgrader websocket.Upgrader
	proxies  clientip.Proxies
	tracer   trace.Tracer // nil for none

	unrestricted *access.Grant // of everybody, where nobody is asked

	// The steps of leaving: announced tells whoever asks, draining asks the clients to
	// go, cut ends what is left.
	announced               atomic.Bool
	draining, cut           context.Context
	beginDraining, beginCut context.CancelFunc

	began   time.Time
	logLook sharedLook

	requests census // lines included
	lines    lines
	crew     *crew
}

// New returns a Server for node. nil options mean the defaults.
func New(node *service.Node, o *Options) *Server {
	if o == nil {
		o = &Options{}
	}
	s := &Server{node: node, began: time.Now(), opts: o.withDefaults(), metrics: newMetrics(o.Registerer), echo: echo.New(), unrestricted: access.Unrestricted()}
	s.problems = problem.NewReporter(s.opts.Logger, s.metrics.problems)
	s.crew = newCrew(s.metrics.deliveries.take)
	s.draining, s.beginDraining = context.WithCancel(context.Background())
	s.cut, s.beginCut = context.WithCancel(context.Background())
	s.proxies = clientip.Proxies(s.opts.TrustedProxies)
	s.upgrader = s.newUpgrader()
	s.echo.HTTPErrorHandler = s.answerError
	s.echo.Use(s.observe)
	if s.tracer = tracing.Tracer(s.opts.Tracing); s.tracer != nil {
		s.echo.Use(s.traceRequest)
	}
	s.echo.Use(s.recoverPanic, neverSniff, s.limitHeader)
	if len(s.opts.Origins) > 0 {
		s.echo.Use(s.crossOrigin())
	}
	s.echo.Use(s.identify)
	s.route(s.echo)
	return s
}

// route is the surface.
func (s *Server) route(e *echo.Echo) {
	e.POST("/v1/rooms/:room/events", s.publishToRoom)
	e.POST("/v1/users/:user/events", s.publishToUser)
	e.POST("/v1/broadcast", s.publishToAll)
	e.POST("/v1/events", s.publishBatch)

	e.GET("/v1/rooms/:room/events", s.readRoom)
	e.GET("/v1/events", s.followRooms)
	e.GET("/v1/ws", s.serveSocket)

	e.GET("/livez", s.live)
	e.HEAD("/livez", s.live)
	e.GET("/readyz", s.ready)
	e.HEAD("/readyz", s.ready)
	if s.opts.Gatherer != nil {
		e.GET("/metrics", s.administer(echo.WrapHandler(promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{}))))
	}
	if s.opts.Console != nil {
		e.GET("/", s.servePage)
		e.GET("/console/*", s.servePage)
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.enter()
	defer s.requests.leave()
	// Set for each request anew, for the connection may still have the last one's.
	// A writer without deadlines is not one that a client can stall.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.opts.WriteTimeout))
	if s.announced.Load() {
		// Over HTTP/2 it has net/http send GOAWAY. Who is asked to leave with an answer
		// does not lose the next request to a connection that is closed under it.
		w.Header().Set("Connection", "close")
	}
	s.echo.ServeHTTP(w, r)
}

// Announce says that the node is about to go: it is not ready any more, and each answer
// asks its client to go on over another connection. Otherwise it serves as before, so
// that load balancers have the time to notice. Shutdown announces too.
func (s *Server) Announce() { s.announced.Store(true) }

// Shutdown sends every client away, spread over Options.DrainSpread, refuses
// publishes, and waits until all requests are answered. A stream or socket whose client
// does not take its last word within farewellLimit of its turn is cut. When ctx ends first, it
// cuts what is left, waits for that too, and returns ctx's error. Call it before
// http.Server.Shutdown, which would wait for streams that nobody ends. Afterwards
// the node may be closed.
//
// Over HTTP/2, a connection whose client takes nothing at all can't be cut from here:
// have http.Server.Close called when ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Announce()
	s.beginDraining()
	s.lines.sendAway(s.opts.DrainSpread)
	late := time.AfterFunc(s.opts.DrainSpread+farewellLimit, s.lines.cut)
	defer late.Stop()
	defer s.crew.wait()
	if s.requests.wait(ctx) == nil {
		return nil
	}
	s.beginCut()
	s.lines.cut()
	// Nobody waits for a client any more, and nobody for the log longer than
	// publishLimit and the like allow.
	_ = s.requests.wait(context.Background())
	return ctx.Err()
}

// recoverPanic answers a request whose handler panicked, and keeps the program
// running for the others.
func (s *Server) recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p) // net/http's own way to give up a connection
			default:
				s.logPanic(p)
				err = fmt.Errorf("%w: panic", problem.ErrInternal)
			}
		}()
		return next(c)
	}
}

// logPanic is for whoever has recovered from a panic with value.
func (s *Server) logPanic(value any) {
	s.opts.Logger.Error("panic", "value", value, "stack", string(debug.Stack()))
}

// limitHeader refuses requests whose line and headers are too long.
func (s *Server) limitHeader(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		size := len(r.RequestURI)
		for name, values := range r.Header {
			for _, v := range values {
				size += len(name) + len(v)
			}
		}
		if size > s.opts.MaxHeader {
			return fmt.Errorf("%w: %d bytes, want at most %d", problem.ErrHeader, size, s.opts.MaxHeader)
		}
		return next(c)
	}
}

// roomParam returns the room that the path names.
func roomParam(c echo.Context) (streams.Room, error) {
	name, err := pathParam(c, "room")
	if err != nil {
		return "", err
	}
	return streams.ParseRoom(name)
}

// pathParam returns a part of the path, decoded once: the router has decoded it
// already unless the path was written in an unusual way.
func pathParam(c echo.Context, name string) (string, error) {
	v := c.Param(name)
	if c.Request().URL.RawPath == "" {
		return v, nil
	}
	v, err := url.PathUnescape(v)
	if err != nil {
		return "", fmt.Errorf("%w: %v", streams.ErrRoom, err)
	}
	return v, nil
}

// A census counts the requests being served, so that Shutdown can wait for them.
// (A WaitGroup may not be added to while somebody waits for it.)
type census struct {
	mu    sync.Mutex // guards the fields below
	n     int
	empty chan struct{} // closed when n comes down to 0; nil while nobody waits
}

func (c *census) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
}

func (c *census) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.n == 0 && c.empty != nil {
		close(c.empty)
		c.empty = nil
	}
}

// wait returns nil once nobody is left, or ctx's error.
func (c *census) wait(ctx context.Context) error {
	c.mu.Lock()
	if c.n == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.empty == nil {
		c.empty = make(chan struct{})
	}
	empty := c.empty
	c.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
