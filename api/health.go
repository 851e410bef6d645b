package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"
)

// live says that the process runs, whatever else does not.
func (s *Server) live(c echo.Context) error {
	return c.JSON(http.StatusOK, struct {
		Status string `json:"status"`
	}{"ok"})
}

// readiness says whether the node should be sent clients.
type readiness struct {
	Ready   bool     `json:"ready"`
	Node    string   `json:"node"`
	Reasons []string `json:"reasons"` // codes of problems; none while ready
}

func (s *Server) ready(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyLimit)
	defer cancel()
	state := readiness{Node: s.node.Name(), Reasons: []string{}}
	if s.draining.Err() != nil {
		state.Reasons = append(state.Reasons, kindOf(errDraining).code)
	}
	if err := s.node.Ready(ctx); err != nil {
		s.opts.Logger.Warn("not ready", "error", err)
		state.Reasons = append(state.Reasons, "log-unavailable")
	}
	status := http.StatusOK
	if state.Ready = len(state.Reasons) == 0; !state.Ready {
		status = http.StatusServiceUnavailable
	}
	c.Response().Header().Set(echo.HeaderCacheControl, "no-store")
	return c.JSON(status, state)
}
