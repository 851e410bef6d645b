package api

import (
	"errors"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/clientip"
	"github.com/tidemark/tidemark/limits"
)

// slots are the connection slots of a server.
type slots struct {
	limiter *limits.ConnectionLimiter // nil for no limit
	proxies clientip.Proxies
	metrics *metrics
}

// acquire returns a slot for a stream or WebSocket, before anything else is done for it. The
// caller must release it. An API key counts as no user: many machines may share one, and
// only the limits per node and per address apply to it.
func (s *slots) acquire(c echo.Context) (*limits.Slot, error) {
	r := c.Request()
	slot, err := s.limiter.Acquire(r.Context(), s.proxies.Client(r), grantOf(c).User())
	if limit := slotLimit(err); limit != "" {
		s.metrics.hit(limit, 1)
	}
	return slot, err
}

// slotLimit returns the name, in the metrics, of the limit that err is about; "" for none.
func slotLimit(err error) string {
	switch {
	case errors.Is(err, limits.ErrNodeFull):
		return limitNode
	case errors.Is(err, limits.ErrAddressFull):
		return limitAddress
	case errors.Is(err, limits.ErrUserFull):
		return limitUser
	}
	return ""
}
