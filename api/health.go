package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// readyFor is how long the log's good answer counts, so that whoever asks often does not
// ask the log as often. A bad one counts for those who wait for it, and no longer.
const readyFor = time.Second

// liveness says that the process runs.
type liveness struct {
	Status string  `json:"status"`
	Detail *detail `json:"detail,omitempty"`
}

// readiness says whether the node should be sent clients.
type readiness struct {
	Ready   bool     `json:"ready"`
	Node    string   `json:"node"`
	Reasons []string `json:"reasons"` // codes of problems; none while ready
	Detail  *detail  `json:"detail,omitempty"`
}

// detail is for whoever may look at the node: it says how it is built, and how it does.
type detail struct {
	Version  string     `json:"version"`
	Node     string     `json:"node"`
	Uptime   float64    `json:"uptimeSeconds"`
	Draining bool       `json:"draining"`
	Log      *logDetail `json:"log,omitempty"` // of readiness alone
}

// logDetail is what a node knows of its log.
type logDetail struct {
	Reachable      bool         `json:"reachable"`
	CheckSeconds   float64      `json:"checkSeconds"`    // that the last check took
	CheckAge       float64      `json:"checkAgeSeconds"` // since the last check
	PartitionsAway int          `json:"partitionsAway"`
	Probe          *probeDetail `json:"probe"` // null where the log has none
}

// probeDetail is the log's latest probe.
type probeDetail struct {
	Lag float64 `json:"lagSeconds"`
	Age float64 `json:"ageSeconds"`
}

// live says that the process runs, whatever else does not.
func (s *Server) live(c echo.Context) error {
	d, err := s.detail(c)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(http.StatusOK, liveness{Status: "ok", Detail: d})
}

func (s *Server) ready(c echo.Context) error {
	d, err := s.detail(c)
	if err != nil {
		return err
	}
	state := readiness{Node: s.node.Name(), Reasons: []string{}, Detail: d}
	if s.announced.Load() {
		state.Reasons = append(state.Reasons, problem.CodeOf(problem.ErrDraining))
	}
	look := s.logLook.take(c.Request().Context(), s.lookAtLog)
	if look.err != nil {
		state.Reasons = append(state.Reasons, problem.CodeOf(streams.ErrUnavailable))
	}
	if d != nil {
		d.Log = s.logDetail(look)
	}
	status := http.StatusOK
	if state.Ready = len(state.Reasons) == 0; !state.Ready {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(status, state)
}

// detail returns what a request wants to know beyond yes or no, for which it has to come
// from somebody who may look at the node; nil if it does not want to.
func (s *Server) detail(c echo.Context) (*detail, error) {
	if !verbose(c) {
		return nil, nil
	}
	if err := problem.Authorize(s.grant(c), access.Administer, ""); err != nil {
		return nil, err
	}
	return &detail{
		Version:  s.opts.Version,
		Node:     s.node.Name(),
		Uptime:   time.Since(s.began).Seconds(),
		Draining: s.announced.Load(),
	}, nil
}

// verbose reports whether a request wants the detail.
func verbose(c echo.Context) bool { return c.QueryParams().Has("verbose") }

func (s *Server) logDetail(l look) *logDetail {
	d := &logDetail{
		Reachable:      l.err == nil,
		CheckSeconds:   l.took.Seconds(),
		CheckAge:       time.Since(l.at).Seconds(),
		PartitionsAway: s.node.UnavailablePartitions(),
	}
	if p, ok := s.node.Probe(); ok {
		d.Probe = &probeDetail{Lag: p.Lag.Seconds(), Age: time.Since(p.At).Seconds()}
	}
	return d
}

// lookAtLog asks the log, within readyLimit, whether the node can serve.
func (s *Server) lookAtLog(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	err := s.node.Ready(ctx)
	if err != nil {
		s.opts.Logger.Warn("not ready", "error", err)
	}
	return err
}

// A look is what came of asking the log.
type look struct {
	err  error // nil: it answers
	at   time.Time
	took time.Duration
}

// A sharedLook is a look at the log that many share. One at a time asks, and the others
// wait for its answer.
type sharedLook struct {
	mu     sync.Mutex    // guards the fields below
	last   look          // zero before the first
	asking chan struct{} // closed when the present look ends; nil while nobody asks
}

// take returns the last look, if it is good and not old, or what ask says now. It waits no
// longer than ctx, unless it is the one that asks: what comes of that is for the others
// too.
func (s *sharedLook) take(ctx context.Context, ask func(context.Context) error) look {
	s.mu.Lock()
	last, asking := s.last, s.asking
	good := last.err == nil && time.Since(last.at) < readyFor
	if !good && asking == nil {
		s.asking = make(chan struct{})
	}
	s.mu.Unlock()
	switch {
	case good:
		return last
	case asking == nil:
		return s.ask(context.WithoutCancel(ctx), ask)
	}
	select {
	case <-asking:
	case <-ctx.Done(): // nobody hears the answer
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// ask is take for the one that asks.
func (s *sharedLook) ask(ctx context.Context, ask func(context.Context) error) (l look) {
	l.err = problem.ErrInternal // should ask panic
	began := time.Now()
	defer func() {
		l.at, l.took = time.Now(), time.Since(began)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.last = l
		close(s.asking)
		s.asking = nil
	}()
	l.err = ask(ctx)
	return l
}
