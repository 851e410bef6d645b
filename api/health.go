package api

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"
	"golang.org/x/sync/singleflight"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/internal/logfilter"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const (
	// readyTimeout bounds how long a readiness check waits for the log. It is below the
	// usual timeouts of orchestrators.
	readyTimeout = 2 * time.Second
	// warnEvery is the minimum time between two log lines about a node that is not ready.
	warnEvery = 10 * time.Second
	// readyFor is how long a successful check of the log is valid, so that frequent probes
	// do not become frequent requests to the log. A failed check is valid only for the
	// requests that wait for it.
	readyFor = time.Second
)

// liveness is the answer of /livez.
type liveness struct {
	Status string  `json:"status"`
	Detail *detail `json:"detail,omitempty"`
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready   bool     `json:"ready"`
	Node    string   `json:"node"`
	Reasons []string `json:"reasons"` // codes of problems; empty while ready
	Detail  *detail  `json:"detail,omitempty"`
}

// detail describes the node, for callers that may administer it.
type detail struct {
	Version  string     `json:"version"`
	Node     string     `json:"node"`
	Uptime   float64    `json:"uptimeSeconds"`
	Draining bool       `json:"draining"`
	Log      *logDetail `json:"log,omitempty"` // only of /readyz
}

// logDetail describes the node's connection to the log.
type logDetail struct {
	Reachable      bool         `json:"reachable"`
	CheckSeconds   float64      `json:"checkSeconds"`    // the duration of the last check
	CheckAge       float64      `json:"checkAgeSeconds"` // since the last check
	PartitionsAway int          `json:"partitionsAway"`
	Probe          *probeDetail `json:"probe"` // null for a log without probes
}

// probeDetail is the log's latest probe.
type probeDetail struct {
	Lag float64 `json:"lagSeconds"`
	Age float64 `json:"ageSeconds"`
}

// health answers the probes of orchestrators.
type health struct {
	node    *service.Node
	life    *lifecycle
	version string
	started time.Time
	check   logCheck
}

// live answers that the process runs. It depends on nothing else.
func (h *health) live(c echo.Context) error {
	d, err := h.detail(c)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, liveness{Status: "ok", Detail: d})
}

// ready answers whether load balancers should send clients to this node.
func (h *health) ready(c echo.Context) error {
	d, err := h.detail(c)
	if err != nil {
		return err
	}
	state := readiness{Node: h.node.Name(), Reasons: []string{}, Detail: d}
	if h.life.announced.Load() {
		state.Reasons = append(state.Reasons, problem.CodeOf(problem.ErrDraining))
	}
	log := h.check.get(c.Request().Context(), h.node)
	if log.err != nil {
		state.Reasons = append(state.Reasons, problem.CodeOf(streams.ErrUnavailable))
	}
	if d != nil {
		d.Log = h.logDetail(log)
	}
	status := http.StatusOK
	if state.Ready = len(state.Reasons) == 0; !state.Ready {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(status, state)
}

// detail returns the details that a request asks for; nil if it asks for none. It refuses
// callers that may not administer the node.
func (h *health) detail(c echo.Context) (*detail, error) {
	if !wantsDetail(c) {
		return nil, nil
	}
	if err := problem.Authorize(grantOf(c), access.Administer, ""); err != nil {
		return nil, err
	}
	return &detail{
		Version:  h.version,
		Node:     h.node.Name(),
		Uptime:   time.Since(h.started).Seconds(),
		Draining: h.life.announced.Load(),
	}, nil
}

// wantsDetail reports whether a request asks for details.
func wantsDetail(c echo.Context) bool { return c.QueryParams().Has("verbose") }

func (h *health) logDetail(s logStatus) *logDetail {
	d := &logDetail{
		Reachable:      s.err == nil,
		CheckSeconds:   s.took.Seconds(),
		CheckAge:       time.Since(s.at).Seconds(),
		PartitionsAway: h.node.UnavailablePartitions(),
	}
	if p, ok := h.node.Probe(); ok {
		d.Probe = &probeDetail{Lag: p.Lag.Seconds(), Age: time.Since(p.At).Seconds()}
	}
	return d
}

// A logStatus is the result of a check of the log.
type logStatus struct {
	err  error // nil if the log answers
	at   time.Time
	took time.Duration
}

func (s logStatus) valid() bool { return s.err == nil && time.Since(s.at) < readyFor }

// A logCheck checks the log for all requests together: one check runs at a time, and the
// requests that arrive meanwhile wait for its result.
type logCheck struct {
	logger *slog.Logger
	warned logfilter.Filter // anyone may ask, and each check may fail
	group  singleflight.Group

	mu   sync.Mutex // guards last
	last logStatus  // zero before the first check
}

// get returns the last status while it is valid, or that of a new check, which takes at most
// readyTimeout. It does not stop a check when ctx ends: other requests wait for it too.
func (c *logCheck) get(ctx context.Context, node *service.Node) logStatus {
	if s := c.latest(); s.valid() {
		return s
	}
	v, _, _ := c.group.Do("", func() (any, error) {
		if s := c.latest(); s.valid() { // a check has ended meanwhile
			return s, nil
		}
		s := c.run(context.WithoutCancel(ctx), node)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last = s
		return s, nil
	})
	return v.(logStatus)
}

func (c *logCheck) latest() logStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *logCheck) run(ctx context.Context, node *service.Node) (s logStatus) {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	start := time.Now()
	if s.err = node.Ready(ctx); s.err != nil {
		if suppressed, ok := c.warned.Pass(); ok {
			c.logger.Warn("the node is not ready", "error", s.err, "suppressed", suppressed)
		}
	}
	s.at, s.took = time.Now(), time.Since(start)
	return s
}
